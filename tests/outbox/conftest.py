"""Services over a real database whose connection can be made to fail."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from credit_sdk import Account, AsyncCreditDeductionService, CreditDeductionService, CreditError, Retries
from credit_sdk.operations import AddCredits, Allocate, Operation

ADA = Account(org_id="acme", user_id="ada")
MakeService = Callable[..., CreditDeductionService]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def outbox_path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite3"


@pytest.fixture
def books(database_url: str) -> str:
    """The URL of a database in which ada of acme may spend 1,000 credits."""
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("INSERT INTO organizations (id, name) VALUES ('acme', 'Acme')")
        owner.execute("INSERT INTO organization_members (org_id, user_id) VALUES ('acme', 'ada')")
    with CreditDeductionService(database_url, outbox=False) as billing:
        billing.execute(AddCredits.model_validate({"org_id": "acme", "credits": 1_000}))
        fields = {"org_id": "acme", "user_id": "ada", "allocated_credits": 1_000}
        billing.execute(Allocate.model_validate(fields))
    return database_url


@pytest.fixture
def make_service(books: str, outbox_path: Path) -> Iterator[MakeService]:
    made: list[CreditDeductionService] = []

    def make(**options: Any) -> CreditDeductionService:
        settings = {"outbox": outbox_path, "retries": Retries(attempts=2, first_wait=0.001)}
        made.append(CreditDeductionService(books, **settings | options))
        return made[-1]

    yield make
    for service in made:
        service.close()


class Fault:
    """Makes operations of some kinds fail, before or after they are carried out, as long as it lasts."""

    def __init__(
        self,
        service: CreditDeductionService | AsyncCreditDeductionService,
        *kinds: type[Operation[Any]],
        error: CreditError,
        after: bool,
    ) -> None:
        self.lasts = True
        self.hits = 0
        self._kinds = kinds
        self._error = error
        self._after = after
        connections = service._till.connections
        self._break(connections.backend)
        if isinstance(service, AsyncCreditDeductionService):
            self._break_async(connections.async_backend)

    def _spares(self, operation: Operation[Any]) -> bool:
        return not self.lasts or not isinstance(operation, self._kinds)

    def _break(self, backend: Any) -> None:
        carry_out = backend.execute

        def execute(operation: Operation[Any]) -> Any:
            if self._spares(operation):
                return carry_out(operation)
            self.hits += 1
            if self._after:
                carry_out(operation)
            raise self._error

        backend.execute = execute

    def _break_async(self, backend: Any) -> None:
        carry_out = backend.execute

        async def execute(operation: Operation[Any]) -> Any:
            if self._spares(operation):
                return await carry_out(operation)
            self.hits += 1
            if self._after:
                await carry_out(operation)
            raise self._error

        backend.execute = execute


@pytest.fixture
def left(books: str) -> Callable[[], tuple[int, int]]:
    """What ada has left and what of it is held, in credits."""

    def look() -> tuple[int, int]:
        with CreditDeductionService(books, outbox=False) as billing:
            [standing] = billing.user_credits("ada").organizations
        return int(standing.remaining_credits), int(standing.held_credits)

    return look
