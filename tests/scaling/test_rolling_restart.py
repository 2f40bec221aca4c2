"""Servers are replaced one after the other while everybody charges through a balancer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import psycopg

from reference_server.credentials import create_api_key, open_session
from tests.scaling.balancer import Balancer
from tests.scaling.judging import assert_nothing_lost_or_doubled
from tests.scaling.loading import asking, under_load

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.server.conftest import RedisServer
    from tests.server.test_serving import Process, Serve

PER_MINUTE = 10


def port_of(process: Process) -> int:
    port = urlsplit(process.base_url).port
    assert port
    return port


def test_no_charge_fails_and_limits_hold(
    serve: Serve,
    redis_server: RedisServer,
    open_books: Callable[[str], None],
    database_url: str,
    application_url: str,
) -> None:
    open_books(database_url)
    with psycopg.connect(database_url) as owner:
        key = create_api_key(owner, "load", ["consume_credits"])
        session = open_session(owner, "ann")
    settings = {
        "DATABASE_URL": application_url,
        "CREDITS_RATE_LIMIT_URL": redis_server.url,
        "CREDITS_SAFE_PER_MINUTE": str(PER_MINUTE),
    }
    statuses: list[int] = []
    with Balancer() as balancer, httpx.Client(cookies={"session_token": session}) as http:

        def read() -> None:
            # A connection of its own each time, so that every server is asked.
            url = f"{balancer.url}/api/v1/org-billing/billing/user"
            try:
                answer = http.get(url, headers={"Connection": "close"})
            except httpx.RemoteProtocolError:
                # Nobody read it: the listener closed. A GET may be repeated (RFC 9110, section 9.2.2).
                answer = http.get(url, headers={"Connection": "close"})
            statuses.append(answer.status_code)

        fleet = [serve(**settings) for _ in range(2)]
        balancer.ports = [port_of(process) for process in fleet]
        began = time.monotonic()
        with under_load(balancer.url, api_key=key) as load, asking(read):
            load.go_on(50)
            for place, process in enumerate(fleet):
                code, _, err = process.stop()
                assert (code, err) == (0, "")
                load.go_on(50)
                balancer.ports[place] = port_of(serve(**settings))
                load.go_on(50)
        minutes = (time.monotonic() - began) / 60
    assert len(balancer.given) == 4
    assert_nothing_lost_or_doubled(database_url, load.receipts)
    assert set(statuses) <= {200, 429, 503}
    # A window of a minute slides over all of it; four servers that count for themselves accept 40.
    assert PER_MINUTE <= statuses.count(200) <= PER_MINUTE * (1 + minutes) + 1
