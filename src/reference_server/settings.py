"""How a server is set up: one frozen value, read from the environment and from arguments."""

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError

from credit_sdk.errors import ConfigurationError
from credit_sdk.operations import LARGEST_BATCH
from reference_server.alerting.settings import AlertSettings, Networks
from reference_server.cells.naming import checked as checked_cells
from reference_server.listed import listed
from reference_server.llm.settings import GatewaySettings
from reference_server.oidc.settings import IdentitySettings


def _origin(value: str) -> str:
    """Check an origin as browsers send it: scheme, host and port, nothing else, never `null`."""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "*" in value or "@" in value:
        raise ValueError(f"{value!r} is not an origin such as https://app.example")
    if value != f"{parts.scheme}://{parts.netloc}":
        raise ValueError(f"{value!r} must be scheme, host and port only")
    return value.lower()


def _postgresql(url: str) -> str:
    if urlsplit(url).scheme.partition("+")[0] not in {"postgresql", "postgres"}:
        raise ValueError("must be a postgresql:// address")
    return url


def _redis(url: str) -> str:
    parts = urlsplit(url)
    try:
        database = int(parts.path.strip("/") or 0)
        valid = parts.scheme in {"redis", "rediss"} and parts.hostname and parts.port != 0 and database >= 0
    except ValueError:
        # The text of this error quotes a part of the URL, which may be the password.
        valid = False
    if not valid or parts.query or parts.fragment:
        raise ValueError("must look like redis://user:password@host:6379/0, or rediss:// for TLS")
    return url


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be an http(s) address such as https://api.stripe.com")
    return url.rstrip("/")


def _template(url: str) -> str:
    if urlsplit(url).scheme not in {"http", "https"} or url.replace("{org_id}", "").count("{"):
        raise ValueError("must be an http(s) address; {org_id} stands for the organisation")
    return url


Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], BeforeValidator(listed)]
LogFormat = Literal["text", "json"]
RedisUrl = Annotated[str, AfterValidator(_redis)]
PerMinute = Annotated[int, Field(ge=1, le=1_000_000)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class Settings(IdentitySettings, GatewaySettings, AlertSettings):
    """What a server needs to know. The variable of a field is its name in capitals after `CREDITS_`.

    What begins with `OIDC_` or `STRIPE_`, and `DATABASE_URL`, have no such prefix: others use these names,
    too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    database_url: Annotated[str, AfterValidator(_postgresql), Field(repr=False)]
    """The PostgreSQL of the ledger. Its variable is `DATABASE_URL`."""
    database_role: Annotated[str, Field(pattern="^([a-z_][a-z0-9_]*)?$")] = "credits_app"
    """The role that the server acts as; empty to stay who the URL says."""
    cells: Annotated[str, AfterValidator(checked_cells), Field(repr=False)] = ""
    """Databases of other organisations: `b=postgresql://... c*3=postgresql://...`."""
    cells_cache_seconds: Annotated[Seconds, Field(le=300)] = 5
    """How long it is believed where an organisation lives, unless its database says that it has left."""
    allow_superuser: bool = False
    """Whether `credits serve` may log in as a superuser, for whom no right in the database holds."""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    cors_origins: Origins = ()
    trusted_proxies: Networks = ()
    """Whose `X-Forwarded-For` is believed."""
    unsafe_per_minute: PerMinute = 20
    safe_per_minute: PerMinute = 100
    refused_per_minute: PerMinute = 300
    """How many requests without a valid credential one client address may send."""
    logins_per_account: PerMinute = 10
    """How often one account's password may be tried in a minute, rightly or not."""
    logins_per_address: PerMinute = 60
    """How often passwords may be tried from one client address in a minute."""
    rate_limit_url: Annotated[RedisUrl | None, Field(repr=False)] = None
    """The Redis in which several processes count requests together; without it each counts for itself."""
    top_up_url: Annotated[str, AfterValidator(_template)] | None = None
    """Where a refused caller is sent to buy credits, with `{org_id}` for the organisation."""
    stripe_secret_key: Annotated[str | None, Field(repr=False, min_length=1)] = None
    """The key of the Stripe account that sells credits; without it nothing is sold here."""
    stripe_webhook_secret: Annotated[str | None, Field(repr=False, min_length=1)] = None
    """What Stripe signs its events with."""
    stripe_api_base: Annotated[str, AfterValidator(_address)] | None = None
    """Where Stripe's API answers, if not at its own address."""
    body_seconds: Annotated[Seconds, Field(gt=0)] = 10
    key_cache_seconds: Annotated[Seconds, Field(le=60)] = 5
    """How long an API key is believed without asking again: a revoked key works at most that long."""
    sweep_seconds: Annotated[Seconds, Field(gt=0)] = 5
    """How often overdue holds are given back."""
    batch_size: Annotated[int, Field(ge=1, le=LARGEST_BATCH)] = 256
    """How many charges of an organisation are carried out together at most; with 1 each goes by itself."""
    log_format: LogFormat = "text"
    """`json` writes one object for each line, with the ids of request and trace."""
    log_requests: bool = False
    """Whether every request is a line in the log."""
    drain_seconds: Annotated[Seconds, Field(ge=1)] = 30
    """How long a stopping server waits for what is in flight."""

    @property
    def base_url(self) -> str:
        """Where browsers reach this server, without a slash at the end."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ, **arguments: Any) -> Self:
        """Read the environment; arguments that are not None go first. Raises `ConfigurationError`."""
        given = {
            name: environment[variable(name)] for name in cls.model_fields if variable(name) in environment
        }
        try:
            return cls(**given | {name: value for name, value in arguments.items() if value is not None})
        except ValidationError as error:
            raise ConfigurationError(_complaint(error)) from None

    def environment(self) -> dict[str, str]:
        """Return the variables from which another process reads these settings."""
        return {
            variable(name): ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            for name, value in self
            if value is not None
        }


def variable(field: str) -> str:
    """Return the environment variable of a field."""
    bare = field == "database_url" or field.startswith(("oidc_", "stripe_"))
    return field.upper() if bare else f"CREDITS_{field.upper()}"


def _complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{variable(str(first['loc'][0]))}: {first['msg'].removeprefix('Value error, ')}"
