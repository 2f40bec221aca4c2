"""What keeping the books in order found."""

from credit_sdk.models._base import Result


class ExpiredHolds(Result):
    """How many holds were given back because their time was over."""

    expired: int


class Difference(Result):
    """A figure of the books that does not follow from the append-only rows. Amounts are millicredits.

    `org_id` is None for a user's own balance.
    """

    org_id: str | None = None
    subject: str
    figure: str
    recorded: int
    recomputed: int


class Verification(Result):
    """The outcome of recomputing every balance from the append-only rows."""

    organizations: int
    allocations: int
    charges: int
    open_holds: int
    users: int = 0
    transactions: int = 0
    differences: tuple[Difference, ...]

    @property
    def ok(self) -> bool:
        """Whether the books agree with the append-only rows."""
        return not self.differences


class DueRun(Result):
    """What was due and is done now."""

    holds_expired: int
    allocations_reset: int
    pools_refreshed: int
    subscriptions_ended: int
    subscriptions_renewed: int
    lots_expired: int = 0
