"""A secret that was sent to the server is in no log, no row and no answer (row 107)."""

from __future__ import annotations

import json
import logging
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql

from reference_server.middleware import Envelope

if TYPE_CHECKING:
    from httpx import Response

    from tests.server.conftest import Organization, Running

SECRET = "csk_hunter2_that_must_not_be_seen_anywhere_0123"
DSN = "postgresql://owner:hunter2@db.example/credits"
JSON = {"Content-Type": "application/json"}

REQUESTS: dict[str, dict[str, Any]] = {
    "bearer": {"method": "GET", "path": "billing/user", "bearer": SECRET},
    "key": {"method": "GET", "path": "billing/user", "key": SECRET},
    "cookie": {"method": "GET", "path": "billing/user", "cookie": SECRET},
    "two credentials": {"method": "GET", "path": "billing/user", "key": SECRET, "bearer": SECRET},
    "basic": {"method": "GET", "path": "billing/user", "headers": {"Authorization": f"Basic {SECRET}"}},
    "query": {"method": "GET", "path": f"/readyz?api_key={SECRET}"},
    "path": {"method": "GET", "path": f"/{SECRET}"},
    "origin": {"method": "GET", "path": "/healthz", "headers": {"Origin": f"https://{SECRET}"}},
}


def everything_stored(connection: Any) -> str:
    """Return all rows of all tables of ours as text."""
    tables = connection.execute(
        "select schemaname, tablename from pg_tables where schemaname in ('public', 'ledger', 'identity')"
    ).fetchall()
    assert len(tables) > 10
    rows = [
        connection.execute(sql.SQL("select t::text from {} as t").format(sql.Identifier(*table))).fetchall()
        for table in tables
    ]
    return str(rows)


def assert_untold(response: Response, caplog: pytest.LogCaptureFixture) -> None:
    assert "hunter2" not in response.text
    assert "hunter2" not in str(response.headers)
    ours = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert "hunter2" not in " ".join(record.getMessage() + (record.exc_text or "") for record in ours)


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
def test_a_secret_in_a_strange_place(
    server: Running, caplog: pytest.LogCaptureFixture, request_: dict[str, Any]
) -> None:
    caplog.set_level(logging.DEBUG)
    response = server.request(**request_)
    assert response.status_code in {200, 401, 404}
    assert_untold(response, caplog)


BODIES = {
    "not JSON": f'{{"api_key": "{SECRET}"',
    "a number": f"{{{json.dumps(SECRET)}: 1e999}}",
    "an amount": json.dumps({"credits": {"password": SECRET}}),
    "an unknown field": json.dumps({"api_key": SECRET}),
    "the wrong type": json.dumps({"service_type": [SECRET], "request_metadata": SECRET}),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_secret_in_a_body_that_is_refused(
    server: Running, shared_organization: Organization, caplog: pytest.LogCaptureFixture, body: str
) -> None:
    caplog.set_level(logging.DEBUG)
    key = shared_organization.keys["consume"]
    response = server.post("credits/deduct", key=key, content=body, headers=JSON)
    assert response.status_code in {400, 422}
    assert_untold(response, caplog)


@pytest.mark.parametrize("path", ["credits/deduct", "credits/holds"])
def test_a_secret_in_metadata_is_not_kept(
    server: Running, organization: Organization, database: Any, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    caplog.set_level(logging.DEBUG)
    metadata = {"password": "hunter2", "note": f"key {SECRET}", "nested": [{"database": DSN, SECRET: 1}]}
    key = organization.keys["consume"]
    response = server.post(path, organization.charge(request_metadata=metadata), key=key)
    assert response.status_code == 200
    assert_untold(response, caplog)
    stored = everything_stored(database)
    assert organization.org_id in stored
    assert "[redacted]" in stored
    assert "hunter2" not in stored


@pytest.mark.anyio
async def test_a_secret_in_an_exception_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_scope: Any, _receive: Any, _send: Any) -> None:
        raise RuntimeError(f"cannot connect to {DSN} with {SECRET}")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await Envelope(broken)({"type": "http", "headers": []}, None, send)  # type: ignore[arg-type]  # nothing is read
    assert "RuntimeError: cannot connect to postgresql://[redacted]@db.example/credits" in caplog.text
    assert "hunter2" not in caplog.text + str(sent)


def test_a_secret_in_settings_is_not_shown(server: Running) -> None:
    shown = f"{server.settings!r} {server.settings}"
    assert server.database_url not in shown
    with pytest.raises(ValueError, match="database_url") as raised:
        type(server.settings)(database_url=DSN.replace("postgresql", "mysql"))
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))
