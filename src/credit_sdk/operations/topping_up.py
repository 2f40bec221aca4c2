"""Let an organisation buy credits by itself."""

from typing import Annotated

from pydantic import Field

from credit_sdk import models
from credit_sdk.amounts import Credits
from credit_sdk.operations._base import Operation, OrgId, Whole

PackageId = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.-]+$")]
PaymentMethod = Annotated[str, Field(min_length=4, max_length=255, pattern=r"^[a-z]+_[A-Za-z0-9_]+$")]
DEAREST_CENTS = 99_999_999


class GetTopUp(Operation[models.TopUpSettings]):
    """Look at what an organisation buys by itself."""

    org_id: OrgId


class SetTopUp(Operation[models.TopUpSettings]):
    """Buy a package whenever fewer credits are left, with a payment method that Stripe keeps.

    Setting it anew forgets earlier failures. `monthly_cents` is the most that is paid in a calendar month, at
    least the package's price. Raises `NotFoundError` for a package that is not sold once, and for an
    organisation that has never bought: Stripe knows no customer then.
    """

    org_id: OrgId
    package_id: PackageId
    payment_method: PaymentMethod
    threshold: Credits
    monthly_cents: Annotated[int, Field(ge=1, le=DEAREST_CENTS), Whole]


class RemoveTopUp(Operation[models.TopUpSettings]):
    """Buy nothing by itself any more. Repeating it changes nothing."""

    org_id: OrgId
