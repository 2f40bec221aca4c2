"""Keep the books in order: only on the database itself."""

from typing import Annotated

from pydantic import Field

from credit_sdk import models
from credit_sdk.operations._base import Operation, OrgId, Whole


class ExpireHolds(Operation[models.ExpiredHolds]):
    """Give back the holds whose time is over."""

    limit: Annotated[int, Field(ge=1, le=100_000), Whole] = 1_000


class VerifyLedger(Operation[models.Verification]):
    """Recompute every balance from the append-only rows, of one organisation or of all."""

    org_id: OrgId | None = None


class RunDue(Operation[models.DueRun]):
    """Do what is due: expire holds, reset allocations, refresh pools, end or renew subscriptions.

    Safe to run late, twice and from many processes at once; each thing is done once.
    """

    limit: Annotated[int, Field(ge=1, le=100_000), Whole] = 1_000
