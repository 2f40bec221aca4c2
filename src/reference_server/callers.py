"""Who is calling: a person with a session, or a program with an API key."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from credit_sdk.backends.sql import Actor
from credit_sdk.models import Role

CONSUME = "consume_credits"
READ = "read_credits"
MANAGE = "manage_credits"
APP_PERMISSIONS = (
    "read_user_info",
    "read_credits",
    "consume_credits",
    "purchase_credits",
    "manage_subscriptions",
)
"""What an application may be permitted to do for the users who log in with it."""
SCOPES = (CONSUME, READ, MANAGE, "read_user_info", "purchase_credits", "manage_subscriptions")


@dataclass(frozen=True, slots=True)
class Session:
    """A person who has logged in, with their role in each of their organisations."""

    user_id: str
    is_system_admin: bool = False
    roles: Mapping[str, Role] = field(default_factory=dict)
    from_cookie: bool = False
    """Whether a browser sent the credential by itself, so that another site may have caused the request."""

    @property
    def id(self) -> str:
        """By what the caller's requests are counted."""
        return f"user {self.user_id}"

    def actor(self, request_id: str) -> Actor:
        """Return the caller as the audit knows them."""
        return Actor(self.user_id, "user", request_id)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A program. `org_id` None means any organisation, `requests_per_minute` None no limit of its own."""

    key_id: str
    scopes: frozenset[str]
    org_id: str | None = None
    requests_per_minute: int | None = None

    @property
    def id(self) -> str:
        """By what the caller's requests are counted."""
        return f"key {self.key_id}"

    def actor(self, request_id: str) -> Actor:
        """Return the caller as the audit knows it."""
        return Actor(self.key_id, "api_key", request_id)


Caller = Session | ApiKey
