"""A new password ends all that the old one opened, also what is opened at that moment."""

from __future__ import annotations

import hashlib
import io
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from reference_server.passwords import PasswordCheck, hash_password
from reference_server.people_commands import set_password
from tests.server.test_cross_app import (
    HASHED,
    INVALID,
    PASSWORD,
    Customer,
    customer,
    jti_of,
    make_customer,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.server.conftest import Connection

__all__ = ["customer", "make_customer"]

ANOTHER = hash_password("another one altogether")
PATIENCE_SECONDS = 20
CHANGE = "UPDATE users SET password_hash = %s WHERE id = %s"
EXCHANGE = """
SELECT identity.open_app_session(
  %s, %s, %s, NULL, NULL, ledger.now() + INTERVAL '1 day', %s, 60
)
"""


def until_waited_for(connection: Connection) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        waiting = "SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        if connection.execute(waiting).fetchone() is not None:
            return
        time.sleep(0.005)
    pytest.fail("nobody waits for the lock")


def exchange(connection: Connection, customer: Customer, token: str) -> None:
    """Exchange a token for a new one, in a transaction that the caller commits."""
    row = connection.execute(EXCHANGE, [uuid4(), customer.app_id, customer.id, jti_of(token)]).fetchone()
    assert row == (True,)


def open_sessions(database: Connection, customer: Customer) -> int:
    row = database.execute(
        "SELECT count(*) FROM cross_app_sessions"
        " WHERE user_id = %s AND coalesce(revoked_at, 'infinity') > ledger.now()",
        [customer.id],
    ).fetchone()
    assert row
    return int(row[0])


def log_in_to_the_dashboard(customer: Customer) -> httpx.Response:
    return customer.server.request(
        "POST",
        "/dashboard/login",
        headers={"Origin": customer.server.base_url},
        data={"email": customer.email, "password": PASSWORD},
    )


DOORS = pytest.mark.parametrize("log_in", [Customer.log_in, log_in_to_the_dashboard])


def while_it_is_compared(monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> None:
    """Do something once, after a password was compared and before it is said whether it fits."""
    fits, todo = PasswordCheck.fits, [do]

    async def late(check: PasswordCheck, *given: Any) -> bool:
        fitted = await fits(check, *given)
        while todo:
            todo.pop()()
        return fitted

    monkeypatch.setattr(PasswordCheck, "fits", late)


@DOORS
def test_a_password_that_is_changed_while_it_is_compared_opens_nothing(
    customer: Customer,
    database: Connection,
    monkeypatch: pytest.MonkeyPatch,
    log_in: Callable[[Customer], httpx.Response],
) -> None:
    while_it_is_compared(monkeypatch, lambda: database.execute(CHANGE, [ANOTHER, customer.id]))
    answer = log_in(customer)
    assert answer.status_code == 401
    assert "Email or password is wrong." in answer.text
    assert "set-cookie" not in answer.headers
    assert open_sessions(database, customer) == 0


@DOORS
def test_a_log_in_waits_for_a_new_password_and_is_refused(
    customer: Customer, log_in: Callable[[Customer], httpx.Response]
) -> None:
    with ThreadPoolExecutor(1) as threads, psycopg.connect(customer.server.database_url) as changing:
        changing.execute(CHANGE, [ANOTHER, customer.id])
        coming = threads.submit(log_in, customer)
        until_waited_for(changing)
        changing.commit()
        assert coming.result().status_code == 401


@DOORS
def test_whoever_logs_in_while_another_log_in_replaces_the_hash_is_let_in(
    make_customer: Callable[..., Customer],
    database: Connection,
    monkeypatch: pytest.MonkeyPatch,
    log_in: Callable[[Customer], httpx.Response],
) -> None:
    digest = hashlib.scrypt(PASSWORD.encode(), salt=bytes(16), n=16, r=8, p=1, dklen=32).hex()
    someone = make_customer(password_hash=f"$scrypt$ln=4,r=8,p=1${'00' * 16}${digest}")
    while_it_is_compared(monkeypatch, lambda: database.execute(CHANGE, [HASHED, someone.id]))
    assert log_in(someone).status_code in {200, 303}


def test_a_new_password_ends_a_session_that_is_exchanged_at_that_moment(
    customer: Customer, database: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("another one altogether\n"))
    token, url = customer.token(), customer.server.database_url
    with ThreadPoolExecutor(1) as threads, psycopg.connect(url) as exchanging:
        exchange(exchanging, customer, token)
        coming = threads.submit(set_password, customer.email, url)
        until_waited_for(exchanging)
        exchanging.commit()
        coming.result()
    assert open_sessions(database, customer) == 0
    assert refusal(customer.post("refresh-token", {"session_token": token})) == INVALID


def test_logging_out_ends_a_session_that_is_exchanged_at_that_moment(
    customer: Customer, database: Connection
) -> None:
    first = customer.token()
    token = customer.post("refresh-token", {"session_token": first}).json()["new_session_token"]
    with ThreadPoolExecutor(1) as threads, psycopg.connect(customer.server.database_url) as exchanging:
        exchange(exchanging, customer, token)
        coming = threads.submit(customer.post, "logout", {"session_token": token})
        until_waited_for(exchanging)
        exchanging.commit()
        assert coming.result().status_code == 200
    assert open_sessions(database, customer) == 0
