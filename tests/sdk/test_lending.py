"""The connections of the blocking SQL backend: kept, bounded in number, replaced when they are no good."""

from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy.exc
from sqlalchemy import NullPool, create_engine

from credit_sdk.backends._lending import GuestLender, OwnLender
from credit_sdk.backends._statements import Call

SIZE = 2


@pytest.fixture
def address(postgres_url: str) -> str:
    return postgres_url.replace("postgresql:", "postgresql+psycopg:", 1)


@pytest.fixture
def lender(address: str) -> Iterator[OwnLender]:
    lender = lender_on(address)
    yield lender
    lender.close()


def lender_on(address: str, longest_life: float = 1_000) -> OwnLender:
    engine = create_engine(address, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    return OwnLender(engine, SIZE, patience=0.01, longest_life=longest_life)


def test_the_line_that_was_used_last_is_lent_first(lender: OwnLender) -> None:
    first, second = lender.lend(), lender.lend()
    lender.take_back(first)
    lender.take_back(second)
    assert lender.lend() is second
    assert lender.lend() is first


def test_no_more_lines_are_lent_than_there_may_be(lender: OwnLender) -> None:
    lines = [lender.lend() for _ in range(SIZE)]
    with pytest.raises(sqlalchemy.exc.TimeoutError):
        lender.lend()
    lender.take_back(lines[0])
    assert lender.lend() is lines[0]


def test_a_line_left_in_a_transaction_is_hung_up_and_its_place_is_free(lender: OwnLender) -> None:
    for _ in range(SIZE + 1):
        line = lender.lend()
        line.connection.pgconn.exec_(b"BEGIN")
        lender.take_back(line)
        assert line.connection.closed
    assert not lender.lend().connection.closed


def test_lines_that_idle_beside_a_lost_one_are_not_trusted(lender: OwnLender) -> None:
    """A database that was started anew has lost them all; each would cost a call its answer."""
    lines = [lender.lend() for _ in range(SIZE)]
    for line in lines:
        lender.take_back(line)
    lost = lender.lend()
    lost.connection.pgconn.finish()
    lender.take_back(lost)
    assert [line.connection.closed for line in lines] == [True, True]


def test_who_cannot_connect_takes_no_place(lender: OwnLender, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise psycopg.OperationalError("no")

    with monkeypatch.context() as patch:
        patch.setattr(lender.engine, "raw_connection", refuse)
        for _ in range(SIZE + 1):
            with pytest.raises(psycopg.OperationalError):
                lender.lend()
    assert lender.lend().ask(Call(b"SELECT 1", ())).row == (1,)


def test_an_old_line_is_replaced(address: str) -> None:
    lender = lender_on(address, longest_life=0)
    old = lender.lend()
    lender.take_back(old)
    new = lender.lend()
    assert new is not old
    assert old.connection.closed
    lender.take_back(new)
    lender.close()


def test_a_line_that_comes_back_after_the_end_is_closed(address: str) -> None:
    lender = lender_on(address)
    kept, lent = lender.lend(), lender.lend()
    lender.take_back(kept)
    lender.close()
    assert (kept.connection.closed, lent.connection.closed) == (True, False)
    lender.take_back(lent)
    assert lent.connection.closed


@pytest.mark.parametrize("level", ["AUTOCOMMIT", "READ COMMITTED"])
def test_an_applications_connection_goes_back_as_it_was(address: str, level: str) -> None:
    engine = create_engine(address, pool_size=1, max_overflow=0, isolation_level=level)
    lender = GuestLender(engine)
    line = lender.lend()
    line.ask(Call(b"SELECT 1", ()))
    assert line.is_reusable
    lender.take_back(line)
    assert line.connection.autocommit == (level == "AUTOCOMMIT")
    assert lender.lend().connection is line.connection
    engine.dispose()
