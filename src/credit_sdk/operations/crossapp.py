"""What applications ask about the users who log in with them (SPEC section 6, /api/cross-app).

A session is said by `session_token`, or rather in the Authorization header, which no log keeps. An
`app_id` is needed for both: a token of one application is not valid for another.
"""

from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from credit_sdk.amounts import Credits
from credit_sdk.identifiers import new_request_id
from credit_sdk.models import crossapp
from credit_sdk.operations._base import (
    Metadata,
    Notes,
    Operation,
    RequestId,
    ServiceType,
    storable_text,
)

_NAME = r"^[A-Za-z0-9_.-]+$"
AppId = Annotated[str, Field(min_length=1, max_length=100, pattern=_NAME)]
SessionToken = Annotated[str, Field(min_length=1, max_length=4_096)]
Email = Annotated[str, Field(min_length=1, max_length=320), AfterValidator(storable_text)]
Password = Annotated[str, Field(min_length=1, max_length=1_024), AfterValidator(storable_text)]
AppUserId = Annotated[str, Field(max_length=255), AfterValidator(storable_text)]
PackageId = Annotated[str, Field(min_length=1, max_length=100, pattern=_NAME)]
WebAddress = Annotated[str, Field(min_length=9, max_length=2_048, pattern=r"^https?://[\x21-\x7e]+$")]


class LogIn(Operation[crossapp.AppSession]):
    """Open a session of a user in an application."""

    app_id: AppId
    email: Email
    password: Password = Field(repr=False)
    app_user_id: AppUserId | None = None
    app_metadata: Metadata = Field(default_factory=dict)


class ValidateToken(Operation[crossapp.TokenValidity]):
    """Ask whether a token is good, and whose it is."""

    session_token: SessionToken | None = Field(default=None, repr=False)
    app_id: AppId


class RefreshToken(Operation[crossapp.RefreshedToken]):
    """Exchange a token for a new one, up to an hour after its end. The old one works for another minute."""

    session_token: SessionToken | None = Field(default=None, repr=False)
    app_id: AppId


class LogOut(Operation[crossapp.LoggedOut]):
    """End a session. Repeating it changes nothing."""

    session_token: SessionToken | None = Field(default=None, repr=False)
    app_id: AppId


class GetUserInfo(Operation[crossapp.AppUser]):
    """Look at the user of a session."""

    session_token: SessionToken | None = Field(default=None, repr=False)
    app_id: AppId | None = None


class CheckAppCredits(Operation[crossapp.AppCredits]):
    """Look at the user's balance, and ask whether so much could be taken now."""

    session_token: SessionToken | None = Field(default=None, repr=False)
    app_id: AppId
    required_credits: Credits | None = None


class ConsumeAppCredits(Operation[crossapp.AppConsumption]):
    """Take credits from the user for a service that has succeeded.

    Without a request id, a `job_id` in the metadata stands for one, with the service.
    """

    idempotency = "request_id"

    session_token: SessionToken | None = Field(default=None, repr=False)
    app_id: AppId
    credits: Credits
    service: ServiceType
    description: Notes | None = None
    metadata: Metadata = Field(default_factory=dict)
    request_id: RequestId = Field(default_factory=new_request_id)


class PurchaseCredits(Operation[crossapp.AppCheckout]):
    """Begin a purchase of a package, or of so many credits; the user pays at `checkout_url`."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["package_id"], "properties": {"credits": {"type": "null"}}},
                {"required": ["credits"], "properties": {"package_id": {"type": "null"}}},
            ]
        }
    )

    session_token: SessionToken | None = Field(default=None, repr=False)
    app_id: AppId
    package_id: PackageId | None = None
    credits: Credits | None = None
    return_url: WebAddress

    @model_validator(mode="after")
    def _says_what(self) -> "PurchaseCredits":
        if (self.package_id is None) == (self.credits is None):
            raise ValueError("say what to buy by package_id or by credits, not both")
        return self


class ListPackages(Operation[crossapp.CreditPackages]):
    """List the packages that are for sale."""

    session_token: SessionToken | None = Field(default=None, repr=False)
    app_id: AppId | None = None


class ListAppSubscriptions(Operation[crossapp.AppSubscriptions]):
    """List the user's subscriptions."""

    session_token: SessionToken | None = Field(default=None, repr=False)
    app_id: AppId | None = None
