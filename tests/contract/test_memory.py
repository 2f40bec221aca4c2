"""What only the ledger in memory promises: threads, sessions, and a rule for every operation."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest

from credit_sdk import MemoryLedger
from credit_sdk.backends._statements import function_name
from credit_sdk.backends.memory import AsyncMemoryBackend, MemoryBackend
from credit_sdk.errors import (
    ConfigurationError,
    InsufficientCreditsError,
    InvalidTokenError,
    ProofsUnsupportedError,
    ValidationFailedError,
)
from credit_sdk.operations import (
    AddCredits,
    Deduct,
    GetProof,
    GetUserBilling,
    GrantCredits,
    ListChain,
    Operation,
    PlaceHold,
    Seal,
    VerifyChain,
    VerifyLedger,
    alerting,
    crossapp,
    topping_up,
)


@pytest.fixture
def books() -> MemoryLedger:
    books = MemoryLedger()
    books.add_organization("acme", credits=1_000)
    books.add_member("acme", "ada", allocated=100)
    return books


ELSEWHERE = {crossapp.__name__, alerting.__name__, topping_up.__name__}


def _operations(kind: type[Operation[Any]] = Operation) -> Iterator[type[Operation[Any]]]:
    """The operations of ledgers; applications' log-ins are a server's, alerts and top-ups a database's."""
    for child in kind.__subclasses__():
        yield from _operations(child)
        if "result" in vars(child) and "[" not in child.__name__ and child.__module__ not in ELSEWHERE:
            yield child


@pytest.mark.parametrize("kind", sorted(set(_operations()), key=lambda kind: kind.__name__))
def test_every_operation_has_a_rule_of_its_name(kind: type[Operation[Any]]) -> None:
    assert callable(getattr(MemoryLedger, function_name(kind)))


@pytest.mark.parametrize(
    "operation",
    [Seal(), VerifyChain(), ListChain(org_id="acme"), GetProof(org_id="acme", request_id="job-1")],
    ids=lambda operation: type(operation).__name__,
)
def test_proofs_are_refused(books: MemoryLedger, operation: Operation[Any]) -> None:
    with pytest.raises(ProofsUnsupportedError, match=type(operation).__name__):
        books.execute(operation)


def test_threads_never_overspend(books: MemoryLedger) -> None:
    def spend(n: int) -> bool:
        kind = Deduct if n % 2 else PlaceHold
        operation = kind(
            org_id="acme", user_id="ada", credits=3, service_type="s", request_id=f"job-{n // 3}"
        )
        try:
            return not books.execute(operation).replayed
        except InsufficientCreditsError:
            return False
        except Exception as error:  # noqa: BLE001 - an id that a hold and a deduct want is one's or the other's
            assert type(error).__name__ == "IdempotencyConflictError"  # noqa: PT017
            return False

    with ThreadPoolExecutor(8) as pool:
        taken = sum(pool.map(spend, range(600)))
    assert taken == 33
    assert books.execute(VerifyLedger()).ok


def test_the_clock_is_the_callers() -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    books = MemoryLedger(now=lambda: moment)
    books.add_organization("acme", credits=100)
    books.add_member("acme", "ada", allocated=100)
    receipt = books.execute(Deduct(org_id="acme", user_id="ada", credits=1, service_type="s"))
    assert receipt.created_at == moment


def test_a_session_is_seen_through_the_backend_and_by_its_digest(books: MemoryLedger) -> None:
    token = books.open_session("ada")
    backend = MemoryBackend(books)
    digest = sha256(token.encode()).hexdigest()
    assert backend.as_caller(token).execute(GetUserBilling()).user_id == "ada"
    assert backend.execute(GetUserBilling(session_digest=digest)).user_id == "ada"
    with pytest.raises(InvalidTokenError):
        backend.as_caller("another").execute(GetUserBilling())
    with pytest.raises(ValidationFailedError):
        backend.execute(GetUserBilling())


@pytest.mark.anyio
async def test_awaiting_sees_the_same_books(books: MemoryLedger) -> None:
    backend = AsyncMemoryBackend(books)
    token = books.open_session("ada")
    await backend.execute(Deduct(org_id="acme", user_id="ada", credits=1, service_type="s"))
    billing = await backend.as_caller(token).execute(GetUserBilling())
    assert billing.total_usage_last_30_days == 1
    await backend.close()


def test_credits_that_expire_are_refused(books: MemoryLedger) -> None:
    for operation in (
        AddCredits(org_id="acme", credits=Decimal(5), expires_in_days=1),
        GrantCredits(user_id="ada", credits=Decimal(5), priority=1),
    ):
        with pytest.raises(ConfigurationError, match="no credits that expire"):
            books.execute(operation)
