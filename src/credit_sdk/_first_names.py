"""What the first system's organisation functions answered, for code that was written against it."""

from decimal import Decimal
from typing import NamedTuple

from credit_sdk.amounts import to_millicredits


class OrgCheck(NamedTuple):
    """Whether an organisation would pay, which one (None: the user is in none), and why, in words."""

    has_credits: bool
    org_id: str | None
    message: str


class OrgDeduction(NamedTuple):
    """Whether an organisation has paid, which one (None: the user is in none), and what is left to the user.

    `remaining_credits` is in millicredits, as in the first system.
    """

    success: bool
    org_id: str | None
    remaining_credits: int


def in_millicredits(credits: Decimal | None) -> int:
    """Return credits in the first system's unit."""
    return 0 if credits is None else to_millicredits(credits)
