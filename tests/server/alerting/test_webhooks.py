"""Webhooks: signed, each under one id, again until they arrive, and to nobody inside."""

from __future__ import annotations

import asyncio
import json
import socket
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from credit_sdk import BillingClient, MemoryLedger
from credit_sdk.backends.sql import AsyncSqlBackend
from credit_sdk.errors import ConfigurationError, NotFoundError
from reference_server.alerting.addresses import ForbiddenAddressError, resolve
from reference_server.alerting.rounds import alerting, run_round
from reference_server.alerting.webhooks import LARGEST_ANSWER, deliver_due

if TYPE_CHECKING:
    from collections.abc import Callable

    from reference_server.settings import Settings
    from tests.server.alerting.conftest import Receiver, Watched

    MakeSettings = Callable[..., Settings]

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_an_alert_arrives_signed(
    watched: Watched, receiver: Receiver, backend: AsyncSqlBackend, alert_settings: MakeSettings
) -> None:
    watched.client.alerts.set("acme", "pool.low", 2_000)
    done = await run_round(backend, alert_settings())
    assert (done.raised, done.cleared, done.delivered) == (1, 0, 1)
    [(headers, body)] = receiver.received
    said = Webhook(watched.webhook.secret).verify(body, headers)
    assert said["type"] == "pool.low"
    assert (said["data"]["threshold"], said["data"]["value"]) == (2_000, 1_000)
    [alert] = watched.client.alerts.list("acme").open
    assert said["data"]["alert_id"] == str(alert.alert_id)
    assert headers["host"] == f"localhost:{receiver.port}"
    assert headers[":path"] == "/hook?of=acme"
    delivery = watched.delivery()
    assert (delivery.status, delivery.attempts, delivery.last_status) == ("delivered", 1, 204)
    assert headers["webhook-id"] == f"msg_{delivery.delivery_id}"
    with pytest.raises(WebhookVerificationError):
        Webhook(watched.webhook.secret).verify(body + " ", headers)


async def test_what_fails_is_sent_again_under_its_id(
    watched: Watched, receiver: Receiver, backend: AsyncSqlBackend, alert_settings: MakeSettings
) -> None:
    receiver.statuses = [500, 429]
    watched.test()
    assert await deliver_due(backend, alert_settings()) == 0
    waiting = watched.delivery()
    assert (waiting.status, waiting.last_status, waiting.last_error) == (
        "pending", 500, "The endpoint answered 500.",
    )  # fmt: skip
    assert await deliver_due(backend, alert_settings()) == 0
    assert len(receiver.received) == 1
    for expected in (0, 1):
        watched.hurry()
        assert await deliver_due(backend, alert_settings()) == expected
    assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1
    assert len({body for _, body in receiver.received}) == 1
    assert watched.delivery().attempts == 3


async def test_waits_grow_and_come_to_an_end(
    watched: Watched, receiver: Receiver, backend: AsyncSqlBackend, alert_settings: MakeSettings
) -> None:
    receiver.statuses = [503] * 10
    delivery_id = watched.test()
    waits: list[float] = []
    for _ in range(9):
        watched.hurry()
        await deliver_due(backend, alert_settings())
        [row] = watched.execute(
            "SELECT extract(epoch FROM next_attempt_at - ledger.now()) AS wait FROM webhook_deliveries"
        )
        waits.append(float(row["wait"]))
    longest = [min(5 * 4**attempt, 28_800) for attempt in range(9)]
    assert all(most / 2 - 5 < wait <= most for most, wait in zip(longest, waits, strict=True)), waits
    watched.hurry()
    await deliver_due(backend, alert_settings())
    assert (watched.delivery().status, watched.delivery().attempts) == ("dead", 10)
    watched.hurry()
    assert await deliver_due(backend, alert_settings()) == 0
    assert len(receiver.received) == 10
    again = watched.client.alerts.redeliver("acme", watched.delivery().delivery_id)
    assert (str(again.delivery_id), again.status) == (delivery_id, "pending")
    assert await deliver_due(backend, alert_settings()) == 1
    assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1


async def test_several_processes_send_each_webhook_once(
    watched: Watched, receiver: Receiver, alert_settings: MakeSettings
) -> None:
    for _ in range(60):
        watched.test()
    backends = [AsyncSqlBackend(watched.url, pool_size=2) for _ in range(4)]
    counts = await asyncio.gather(*(deliver_due(each, alert_settings()) for each in backends))
    for each in backends:
        await each.close()
    assert sum(counts) == 60
    ids = [headers["webhook-id"] for headers, _ in receiver.received]
    assert (len(ids), len(set(ids))) == (60, 60)


async def test_what_a_process_took_with_it_is_sent_when_its_lease_is_over(
    watched: Watched, receiver: Receiver, backend: AsyncSqlBackend, alert_settings: MakeSettings
) -> None:
    watched.test()
    [row] = watched.execute("SELECT alerts.lease(10, 60) AS leased")
    [taken] = row["leased"]
    assert await deliver_due(backend, alert_settings()) == 0
    watched.hurry()
    assert await deliver_due(backend, alert_settings()) == 1
    [late] = watched.execute(
        "SELECT alerts.settle(%s, %s, FALSE, 500, 'late') AS became", taken["delivery_id"], taken["lease"]
    )
    assert late["became"] == "lost"
    assert watched.delivery().status == "delivered"
    assert len(receiver.received) == 1


async def test_redirects_are_not_followed(
    watched: Watched, receiver: Receiver, backend: AsyncSqlBackend, alert_settings: MakeSettings
) -> None:
    receiver.statuses = [307]
    receiver.headers = {"location": receiver.url}
    watched.test()
    assert await deliver_due(backend, alert_settings()) == 0
    assert len(receiver.received) == 1
    assert watched.delivery().last_status == 307


async def test_an_answer_without_end_is_not_read_to_the_end(
    watched: Watched, receiver: Receiver, backend: AsyncSqlBackend, alert_settings: MakeSettings
) -> None:
    receiver.body = b"x" * (100 * LARGEST_ANSWER)
    watched.test()
    assert await deliver_due(backend, alert_settings()) == 1


async def test_who_does_not_answer_is_left(
    watched: Watched, backend: AsyncSqlBackend, alert_settings: MakeSettings
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        watched.execute(
            "UPDATE webhook_endpoints SET url = %s", f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
        watched.test()
        assert await deliver_due(backend, alert_settings(webhook_seconds=0.2)) == 0
    assert watched.delivery().last_error == "No answer in time."


@pytest.mark.parametrize("networks", [(), ("10.0.0.0/8",)], ids=["none", "others"])
async def test_nothing_is_sent_to_this_machine_unless_told_to(
    watched: Watched, backend: AsyncSqlBackend, alert_settings: MakeSettings, networks: tuple[str, ...]
) -> None:
    watched.test()
    assert await deliver_due(backend, alert_settings(webhook_networks=networks)) == 0
    delivery = watched.delivery()
    assert (delivery.last_status, delivery.last_error) == (None, "Webhooks are sent over https only.")


FORBIDDEN = (
    "https://127.0.0.1/", "https://localhost/", "https://10.1.2.3/", "https://192.168.0.9:8443/",
    "https://172.16.0.1/", "https://169.254.169.254/latest/meta-data", "https://0.0.0.0/", "https://100.64.0.1/",
    "https://[::1]/", "https://[fe80::1]/", "https://[fd00::1]/", "https://[::ffff:10.0.0.1]/",
    "https://[64:ff9b::10.0.0.1]/", "https://[2002:a00:1::]/", "https://224.0.0.1/", "https://[ff02::1]/",
    "https://0x7f000001/", "https://2130706433/", "https://user@8.8.8.8/", "ftp://8.8.8.8/", "http://8.8.8.8/",
    "https://8.8.8.8:99999/",
)  # fmt: skip


@pytest.mark.parametrize("url", FORBIDDEN)
async def test_addresses_that_are_not_public_are_refused(url: str) -> None:
    with pytest.raises((ForbiddenAddressError, socket.gaierror)):
        await resolve(url, ())


async def test_one_private_address_of_a_name_is_enough_to_refuse_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def two_addresses(*_: Any, **__: Any) -> list[Any]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, ("8.8.8.8", 443)), (*kind, ("10.0.0.1", 443))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", two_addresses)
    with pytest.raises(ForbiddenAddressError, match="not public"):
        await resolve("https://acme.example/", ())
    assert (await resolve("https://acme.example/", (ip_network("10.0.0.0/8"),))).host == "acme.example"


async def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    target = await resolve("https://8.8.8.8:8443/hook?a=b#c", ())
    assert (target.url, target.host, target.authority) == (
        "https://8.8.8.8:8443/hook?a=b", "8.8.8.8", "8.8.8.8:8443",
    )  # fmt: skip


async def test_a_server_sends_by_itself(
    watched: Watched, receiver: Receiver, backend: AsyncSqlBackend, alert_settings: MakeSettings
) -> None:
    watched.client.alerts.set("acme", "pool.low", 2_000)
    async with alerting(backend, alert_settings(alert_seconds=0.01)):
        await asyncio.to_thread(receiver.arrived.wait, 20)
    assert json.loads(receiver.received[0][1])["type"] == "pool.low"


async def test_a_deleted_endpoint_hears_nothing_more(
    watched: Watched, receiver: Receiver, backend: AsyncSqlBackend, alert_settings: MakeSettings
) -> None:
    watched.test()
    assert watched.client.alerts.delete_webhook("acme", watched.webhook.webhook_id) == ()
    assert await deliver_due(backend, alert_settings()) == 0
    assert receiver.received == []
    with pytest.raises(NotFoundError):
        watched.test()


async def test_a_ledger_in_memory_says_that_it_watches_nothing() -> None:
    with pytest.raises(ConfigurationError, match="has no ListAlerts"):
        BillingClient(MemoryLedger()).alerts.list("acme")


async def test_the_secret_is_shown_once(watched: Watched) -> None:
    assert watched.webhook.secret not in repr(watched.webhook)
    [shown] = watched.client.alerts.webhooks("acme")
    assert watched.webhook.secret not in shown.model_dump_json()
    rows = watched.execute("SELECT details::text AS said FROM audit_log")
    assert all(watched.webhook.secret not in row["said"] for row in rows)
