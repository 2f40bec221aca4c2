"""Many processes on one database, and what stands between them."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import psycopg
import pytest

from credit_sdk import Account
from tests.scaling.pgbouncer import PgBouncer
from tests.server import conftest as of_servers
from tests.server import test_serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

application_url = of_servers.application_url
command = of_servers.command
redis_server = of_servers.redis_server
serve = test_serving.serve

ANN = Account(org_id="acme", user_id="ann")
ALLOCATED_CREDITS = 1_000
OFTEN = 12
"""More often than it takes until psycopg prepares a statement."""


class MakePgBouncer(Protocol):
    """Starts a PgBouncer between the test and the database; it ends after the test."""

    def __call__(self, *behind: str, ignored: str = "") -> PgBouncer: ...


@pytest.fixture
def make_pgbouncer() -> Iterator[MakePgBouncer]:
    if shutil.which("pgbouncer") is None:
        pytest.skip("pgbouncer is missing here: these tests put it before PostgreSQL")
    with ExitStack() as stack:

        def make(*behind: str, ignored: str = "") -> PgBouncer:
            return stack.enter_context(PgBouncer(list(behind), ignored=ignored))

        yield make


@pytest.fixture
def open_books() -> Callable[[str], None]:
    """Make the organisation of `ANN` in a database, with credits."""

    def make(url: str) -> None:
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute("INSERT INTO organizations (id, name) VALUES ('acme', 'acme')")
            owner.execute("INSERT INTO organization_members (org_id, user_id) VALUES ('acme', 'ann')")
            owner.execute("SELECT add_credits_to_pool('acme', 100000000)")
            owner.execute("SELECT allocate_credits_to_user('acme', 'ann', %s)", [ALLOCATED_CREDITS * 1_000])

    return make
