"""The ledger of a server with several databases: each operation goes to where its organisation lives."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from credit_sdk import operations
from credit_sdk.errors import CreditError, NotFoundError, UnavailableError
from credit_sdk.models import BatchResult, UserCredits
from reference_server.cells.naming import HOME
from reference_server.identities import ask

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from credit_sdk.backends.sql import Actor, AsyncSqlBackend
    from credit_sdk.operations import Operation, ResultT_co
    from reference_server.access import Ledger

_LOCATE = "SELECT cells.locate($1)"
_MIRROR = "SELECT cells.mirror_member($1, $2, $3, $4, $5) IS NULL"
_MOST_REMEMBERED = 100_000
_BY_ID = (
    operations.GetHold,
    operations.ExtendHold,
    operations.ChargeHold,
    operations.CaptureHold,
    operations.VoidHold,
    operations.Refund,
    operations.GetSubscription,
    operations.UpdateSubscription,
    operations.UpgradeSubscription,
    operations.CancelSubscription,
)


@dataclass
class Directory:
    """Where organisations live, asked of the home database and believed for `seconds`.

    An old belief does no harm: a database refuses to charge an organisation that has left it.
    """

    home: AsyncSqlBackend
    seconds: float
    _known: dict[str, tuple[str, float]] = field(default_factory=dict)

    async def cell_of(self, org_id: str) -> str:
        """Return the name of the cell. Raises `UnavailableError`."""
        known = self._known.get(org_id)
        if known is not None and known[1] > monotonic():
            return known[0]
        cell = await ask(self.home, _LOCATE, org_id) or HOME
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[org_id] = cell, monotonic() + self.seconds
        return str(cell)

    def forget(self, org_id: str) -> None:
        """Ask again next time."""
        self._known.pop(org_id, None)


@dataclass(frozen=True)
class CellLedger:
    """Carries operations out in the cells; what belongs to users and to everyone is at home."""

    cells: Mapping[str, Ledger]
    directory: Directory

    async def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Return the operation's result, or raise a `CreditError`."""
        org_id: str | None = getattr(operation, "org_id", None)
        if isinstance(operation, operations.AddMember):
            return cast("ResultT_co", await self._admit(operation))
        if org_id is not None:
            return await self._of_organization(operation, org_id)
        if isinstance(operation, operations.DeductBatch):
            return cast("ResultT_co", await self._batch(operation))
        if isinstance(operation, operations.GetUserCredits | operations.GetUserBilling):
            return cast("ResultT_co", await self._standing(operation))
        if isinstance(operation, _BY_ID):
            return cast("ResultT_co", await self._wherever(operation))
        return await self.cells[HOME].execute(operation)

    def on_behalf_of(self, actor: Actor) -> CellLedger:
        """Return the same ledger, whose audit names the actor."""
        return CellLedger(
            {name: cell.on_behalf_of(actor) for name, cell in self.cells.items()}, self.directory
        )

    async def _of_organization(self, operation: Operation[ResultT_co], org_id: str) -> ResultT_co:
        cell = await self.directory.cell_of(org_id)
        try:
            return await self._at(cell).execute(operation)
        except UnavailableError:
            # It may have moved. Sending it again is safe: what moves credits has a request id.
            self.directory.forget(org_id)
            now = await self.directory.cell_of(org_id)
            if now == cell:
                raise
        return await self._at(now).execute(operation)

    async def _batch(self, batch: operations.DeductBatch) -> BatchResult:
        """Take each organisation's part of a batch where it lives; outcomes are in the batch's order."""
        organizations = dict.fromkeys(charge.org_id for charge in batch.charges)
        outcomes: dict[str, Any] = {}
        for org_id in organizations:
            part = operations.DeductBatch(
                charges=tuple(charge for charge in batch.charges if charge.org_id == org_id)
            )
            outcomes[org_id] = iter((await self._of_organization(part, org_id)).outcomes)
        return BatchResult(outcomes=tuple(next(outcomes[charge.org_id]) for charge in batch.charges))

    async def _standing(self, question: operations.GetUserCredits | operations.GetUserBilling) -> UserCredits:
        """Put together what each cell knows of a user."""
        first: UserCredits = await self.cells[HOME].execute(question)
        again = question.model_copy(update={"user_id": first.user_id, "session_digest": None})
        others = await asyncio.gather(
            *(cell.execute(again) for name, cell in self.cells.items() if name != HOME)
        )
        return _together(first, others)

    async def _wherever(self, operation: Operation[Any]) -> Any:
        """Find what is named by its id alone; a cell that an organisation has left is not believed."""
        problem: CreditError = NotFoundError()
        for name, cell in self.cells.items():
            try:
                result = await cell.execute(operation)
            except NotFoundError as error:
                problem = problem if isinstance(problem, UnavailableError) else error
                continue
            except UnavailableError as error:
                problem = error
                continue
            org_id = str(getattr(result, "org_id"))  # noqa: B009 - every result of these has one
            home = await self.directory.cell_of(org_id)
            return result if home == name else await self._at(home).execute(operation)
        raise problem

    async def _admit(self, operation: operations.AddMember) -> Any:
        """Add a member where the organisation lives, and at home, where people log in."""
        member = await self._of_organization(operation, operation.org_id)
        if await self.directory.cell_of(operation.org_id) != HOME:
            fields = member.org_id, member.user_id, member.role, member.is_default, member.joined_at
            await ask(self.directory.home, _MIRROR, *fields)
        return member

    def _at(self, name: str) -> Ledger:
        try:
            return self.cells[name]
        except KeyError:
            raise UnavailableError(
                f"The organisation lives in the cell {name!r}, which CREDITS_CELLS does not name here."
            ) from None


def _together(first: UserCredits, others: Iterable[UserCredits]) -> UserCredits:
    standing = list(first.organizations)
    used = getattr(first, "total_usage_last_30_days", None)
    for other in others:
        standing += other.organizations
        used = used if used is None else used + getattr(other, "total_usage_last_30_days", 0)
    standing.sort(key=lambda each: (not each.is_default, each.joined_at, each.org_id))
    changes: dict[str, Any] = {"organizations": tuple(standing)}
    return first.model_copy(update=changes if used is None else changes | {"total_usage_last_30_days": used})
