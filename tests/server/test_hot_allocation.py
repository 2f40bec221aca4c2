"""Hundreds of requests at once on one allocation, through HTTP, to the disk."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest

from tests.server.conftest import API

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from tests.server.conftest import Connection, MakeOrganization, Organization, Running

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 20


@asynccontextmanager
async def client_of(server: Running, key: str, connections: int = 100) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    async with httpx.AsyncClient(
        base_url=server.base_url + API, headers={"X-API-Key": key}, limits=limits, timeout=30
    ) as client:
        yield client


@contextmanager
def locked(server: Running, organization: Organization) -> Iterator[Connection]:
    """Keep the row of an organisation's member locked, as another charge does."""
    with psycopg.connect(server.database_url) as connection:
        connection.execute(
            "SELECT FROM user_credit_allocations WHERE org_id = %s AND user_id = %s FOR UPDATE",
            [organization.org_id, organization.member],
        )
        yield connection


async def waiting_for(connection: Connection, besides: int | None = None) -> int:
    """Return the process that waits for a connection's lock, when one does; `besides` is not meant."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        row = connection.execute(
            "SELECT pid FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        ).fetchone()
        if row is not None and row[0] != besides:
            return int(row[0])
        await asyncio.sleep(0.005)
    pytest.fail("nobody waits for the lock")


async def sent(client: httpx.AsyncClient, bodies: Sequence[Any]) -> list[asyncio.Task[httpx.Response]]:
    """Return the requests, on their way."""
    return [asyncio.ensure_future(client.post("/credits/deduct", json=body)) for body in bodies]


async def behind(
    client: httpx.AsyncClient, lock: Connection, first: Any, others: Sequence[Any]
) -> list[asyncio.Task[httpx.Response]]:
    """Return requests of which the first waits for a lock, and the others for the first."""
    requests = await sent(client, [first])
    await waiting_for(lock)
    requests += await sent(client, others)
    # The server answers this one after it has read those.
    for _ in range(3):
        await client.get("/credits/nowhere")
    return requests


def outcomes(responses: Sequence[httpx.Response]) -> Counter[str]:
    """Count responses by their code, or `charged` or `replayed`."""
    bodies = [response.json() for response in responses]
    return Counter(
        body["code"] if "code" in body else "replayed" if body["replayed"] else "charged" for body in bodies
    )


def charges(database: Connection, organization: Organization) -> tuple[int, int]:
    """Return how many charges an organisation has, and the millicredits that they took."""
    row = database.execute(
        "SELECT count(*), coalesce(sum(credits_used), 0)::bigint FROM credit_usage_attribution"
        " WHERE org_id = %s",
        [organization.org_id],
    ).fetchone()
    assert row is not None
    return row[0], row[1]


async def test_exactly_what_is_there_is_taken(
    server: Running, database: Connection, organization: Organization
) -> None:
    async with client_of(server, organization.keys["consume"]) as client:
        requests = await sent(
            client, [organization.charge(credits=1, request_id=f"job-{number}") for number in range(200)]
        )
        responses = await asyncio.gather(*requests)
    assert outcomes(responses) == {"charged": 100, "insufficient_credits": 100}
    left = sorted(
        float(response.json()["remaining_credits"]) for response in responses if response.status_code == 200
    )
    assert left == [float(number) for number in range(100)]
    assert charges(database, organization) == (100, 100_000)


async def test_an_id_that_comes_several_times_at_once_charges_once(
    server: Running, database: Connection, organization: Organization
) -> None:
    same = organization.charge(request_id="job-1")
    with locked(server, organization) as lock:
        async with client_of(server, organization.keys["consume"]) as client:
            others = [same] * 5 + [same | {"credits": 6}] * 3 + [organization.charge(request_id="job-2")] * 2
            requests = await behind(client, lock, organization.charge(), others)
            lock.rollback()
            responses = await asyncio.gather(*requests)
    assert outcomes(responses) == {"charged": 3, "replayed": 5, "idempotency_conflict": 3}
    assert len({each.json()["charge_id"] for each in responses[1:6]}) == 1
    assert charges(database, organization) == (3, 15_000)


async def test_an_organisation_whose_row_is_locked_stops_no_other(
    server: Running, database: Connection, make_organization: MakeOrganization
) -> None:
    stuck, free = make_organization(), make_organization()
    with locked(server, stuck) as lock:
        async with client_of(server, stuck.keys["everywhere"]) as client:
            waiting = await behind(client, lock, stuck.charge(), [stuck.charge()] * 10)
            going = await asyncio.gather(*await sent(client, [free.charge()] * 20))
            assert outcomes(going) == {"charged": 20}
            assert not any(request.done() for request in waiting)
            lock.rollback()
            assert outcomes(await asyncio.gather(*waiting)) == {"charged": 11}
    assert charges(database, stuck) == (11, 55_000)


async def test_a_connection_that_is_lost_in_a_batch_charges_nobody_twice(
    server: Running, database: Connection, organization: Organization
) -> None:
    bodies = [organization.charge(request_id=f"job-{number}") for number in range(6)]
    with locked(server, organization) as lock:
        async with client_of(server, organization.keys["consume"]) as client:
            requests = await behind(client, lock, bodies[0], bodies[1:])
            alone = await waiting_for(lock)
            database.execute("SELECT pg_terminate_backend(%s)", [alone])
            batch = await waiting_for(lock, besides=alone)
            database.execute("SELECT pg_terminate_backend(%s)", [batch])
            lost = await asyncio.gather(*requests)
            lock.rollback()
            again = await asyncio.gather(*await sent(client, bodies * 2))
    assert {(response.status_code, response.json()["code"]) for response in lost} <= {
        (503, "outcome_unknown"),
        (503, "unavailable"),
    }
    assert all(response.headers["Retry-After"] for response in lost)
    assert outcomes(again) == {"charged": 6, "replayed": 6}
    assert charges(database, organization) == (6, 30_000)


async def test_holds_and_captures_come_together_too(
    server: Running, database: Connection, organization: Organization
) -> None:
    async with client_of(server, organization.keys["consume"]) as client:
        placed = await asyncio.gather(
            *(client.post("/credits/holds", json=organization.charge(credits=1)) for _ in range(110))
        )
        assert Counter(response.status_code for response in placed) == {200: 100, 402: 10}
        held = [response.json()["hold_id"] for response in placed if response.status_code == 200]
        captured = await asyncio.gather(
            *(client.post(f"/credits/holds/{hold_id}/capture", json={}) for hold_id in held * 2)
        )
    assert outcomes(captured) == {"charged": 100, "replayed": 100}
    assert charges(database, organization) == (100, 100_000)
