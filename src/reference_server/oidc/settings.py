"""How the identity provider and this server know each other."""

import secrets
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, ValidationInfo, field_validator


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be an http(s) address without a query")
    return url


def _site(url: str) -> str:
    if urlsplit(_address(url)).path.strip("/"):
        raise ValueError("must be scheme, host and port only: cookies and addresses begin at /")
    return url


Address = Annotated[str, AfterValidator(_address)]
Site = Annotated[str, AfterValidator(_site)]


class IdentitySettings(BaseModel):
    """The part of the settings that logging in needs."""

    oidc_issuer: Address | None = None
    """The provider's issuer, to the letter. Without it nobody logs in here. Its variable is `OIDC_ISSUER`."""
    oidc_client_id: Annotated[str, Field(max_length=255, validate_default=True)] = ""
    oidc_client_secret: Annotated[str, Field(repr=False)] = ""
    """Empty for a public client, which PKCE protects by itself."""
    oidc_audience: str = ""
    """Who an access token must be made for; the client id by default."""
    oidc_scopes: str = "openid profile email"
    oidc_system_admin_role: str = "credits-admin"
    """Who has this realm role is a system administrator here."""
    public_url: Site | None = None
    """Where browsers reach this server, for the way back from the provider."""
    secret_key: str = Field(default_factory=secrets.token_hex, min_length=32, repr=False)
    """What seals the cookies of log-ins under way: the same in every process that answers one address."""

    @field_validator("oidc_client_id")
    @classmethod
    def _is_known_to_the_provider(cls, client_id: str, info: ValidationInfo) -> str:
        if info.data.get("oidc_issuer") and not client_id:
            raise ValueError("the identity provider knows this server by it")
        return client_id

    @property
    def access_audience(self) -> str:
        """Who an access token must be made for."""
        return self.oidc_audience or self.oidc_client_id
