"""What applications learn about the users who log in with them."""

from datetime import datetime
from typing import Literal

from pydantic import Field, computed_field

from credit_sdk.amounts import Balance, Taken
from credit_sdk.models._base import Result

Permission = Literal[
    "read_user_info", "read_credits", "consume_credits", "purchase_credits", "manage_subscriptions"
]


class AppUser(Result):
    """A user. `email` and `name` need the permission read_user_info, `credits` needs read_credits."""

    user_id: int
    email: str | None = None
    name: str | None = None
    user_type: str | None = None
    is_admin: bool = False
    is_customer: bool = False
    credits: Balance | None = None
    permissions: tuple[Permission, ...] = ()


class AppInfo(Result):
    """An application."""

    app_id: str
    app_name: str
    app_domain: str | None = None


class AppSession(Result):
    """A session of a user in an application; `session_token` is its secret."""

    session_token: str = Field(repr=False)
    user: AppUser
    app_info: AppInfo
    permissions: tuple[Permission, ...]
    expires_at: datetime


class TokenValidity(Result):
    """Whether a token is good now, and whose it is."""

    valid: bool
    user: AppUser | None = None
    app_info: AppInfo | None = None
    permissions: tuple[Permission, ...] = ()
    expires_at: datetime | None = None


class RefreshedToken(Result):
    """A new token for an old one."""

    new_session_token: str = Field(repr=False)
    expires_at: datetime
    permissions: tuple[Permission, ...]

    @computed_field(repr=False)  # type: ignore[prop-decorator]  # pydantic's own way
    @property
    def newSessionToken(self) -> str:  # noqa: N802 - the name on the wire
        """The second name of `new_session_token`."""
        return self.new_session_token

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own way
    @property
    def expiresAt(self) -> datetime:  # noqa: N802 - the name on the wire
        """The second name of `expires_at`."""
        return self.expires_at


class LoggedOut(Result):
    """A session has ended."""

    success: Literal[True] = True


class CreditPackage(Result):
    """Credits for sale. `price_cents` is in hundredths of `currency`; `renews_every` is for subscriptions."""

    package_id: str
    name: str
    description: str | None = None
    credits: Taken
    price_cents: int
    currency: str
    renews_every: Literal["month", "year"] | None = None


class CreditPackages(Result):
    """The packages that are for sale."""

    packages: tuple[CreditPackage, ...]


class AppCredits(Result):
    """What a user has, and whether `required_credits` could be taken now."""

    user_id: int
    current_balance: Balance
    has_sufficient_credits: bool
    required_credits: Balance | None = None
    available_packages: tuple[CreditPackage, ...] = ()

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own way
    @property
    def current_credits(self) -> Balance:
        """The second name of `current_balance`."""
        return self.current_balance

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own way
    @property
    def can_consume(self) -> bool:
        """The second name of `has_sufficient_credits`."""
        return self.has_sufficient_credits


class AppConsumption(Result):
    """What an application took from a user, once."""

    success: Literal[True] = True
    credits_consumed: Taken
    new_balance: Balance
    transaction_id: int
    request_id: str
    replayed: bool = False

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own way
    @property
    def remaining_credits(self) -> Balance:
        """The second name of `new_balance`."""
        return self.new_balance


class AppCheckout(Result):
    """Where a user pays."""

    checkout_url: str
    session_id: str


class AppSubscription(Result):
    """A package that a user has subscribed to."""

    subscription_id: str
    status: str
    package_id: str | None = None
    current_period_end: datetime | None = None


class AppSubscriptions(Result):
    """A user's subscriptions."""

    subscriptions: tuple[AppSubscription, ...]
