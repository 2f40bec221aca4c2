"""An endpoint to which nothing would be sent is refused when it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from credit_sdk import BillingClient
from credit_sdk.errors import ValidationFailedError

if TYPE_CHECKING:
    from tests.server.alerting.conftest import Receiver
    from tests.server.conftest import Command, Organization, Running, StartServer

NOT_PUBLIC = "The host has an address that is not public."
REFUSED = [
    ("http://localhost/hook", "Webhooks are sent over https only."),
    ("https://localhost/hook", NOT_PUBLIC),
    ("https://10.1.2.3/hook", NOT_PUBLIC),
    ("https://169.254.169.254/latest", NOT_PUBLIC),
    ("https://2130706433/hook", NOT_PUBLIC),
]


@pytest.mark.parametrize(("url", "words"), REFUSED)
def test_an_address_that_is_not_public_is_refused_over_http(
    server: Running, organization: Organization, url: str, words: str
) -> None:
    with BillingClient(server.base_url, session_token=organization.sessions["owner"]) as client:
        with pytest.raises(ValidationFailedError, match=words) as refused:
            client.alerts.create_webhook(organization.org_id, url, "pool.low")
        assert [error["loc"] for error in refused.value.errors] == [["url"]]
        assert list(client.alerts.webhooks(organization.org_id)) == []


def test_a_name_that_is_not_known_yet_is_kept(server: Running, organization: Organization) -> None:
    with BillingClient(server.base_url, session_token=organization.sessions["owner"]) as client:
        made = client.alerts.create_webhook(organization.org_id, "https://hooks.invalid/x", "pool.low")
        assert [each.webhook_id for each in client.alerts.webhooks(organization.org_id)] == [made.webhook_id]


def test_what_an_operator_allows_is_kept(
    start_server: StartServer, organization: Organization, receiver: Receiver
) -> None:
    server = start_server(webhook_networks=("127.0.0.0/8", "::1/128"))
    with BillingClient(server.base_url, session_token=organization.sessions["owner"]) as client:
        assert client.alerts.create_webhook(organization.org_id, receiver.url, "pool.low").secret


@pytest.mark.parametrize(("url", "words"), REFUSED)
def test_an_address_that_is_not_public_is_refused_on_the_command_line(
    command: Command, server: Running, url: str, words: str
) -> None:
    code, out, err = command("alerts", "add-endpoint", url, "--url", server.database_url)
    assert (code, out, err) == (1, "", f"credits: url: {words}\n")
