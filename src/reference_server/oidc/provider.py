"""Everything that is asked of the identity provider."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import quote

import httpx
from pydantic import BaseModel, Field, ValidationError

from credit_sdk.errors import ConfigurationError, InvalidTokenError, TokenExpiredError
from reference_server.oidc.attempts import Attempt
from reference_server.oidc.keys import KeyCache
from reference_server.oidc.settings import IdentitySettings
from reference_server.oidc.tokens import Person, Verifier
from reference_server.problems import LogInError, ProviderUnavailableError

TIMEOUT_SECONDS: Final = 5.0
_JWT_PARTS = 3
Endpoint = Annotated[str, Field(pattern="^https?://")]


class Metadata(BaseModel):
    """What the provider publishes of itself (OpenID Connect Discovery)."""

    issuer: str
    authorization_endpoint: Endpoint
    token_endpoint: Endpoint
    jwks_uri: Endpoint
    end_session_endpoint: Endpoint | None = None


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """How a log-in ended well. The id token ends the provider's own session later."""

    person: Person
    id_token: str


class Provider:
    """An OpenID Connect provider, which knows this server as one of its clients."""

    def __init__(self, issuer: str, settings: IdentitySettings, redirect_uri: str) -> None:
        self._issuer = issuer
        self._settings = settings
        self._redirect_uri = redirect_uri
        self._metadata: Metadata | None = None
        self._http = httpx.AsyncClient(timeout=TIMEOUT_SECONDS)
        self._verifier = Verifier(issuer, KeyCache(self._published_keys))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def login_url(self, attempt: Attempt) -> str:
        """Return where a browser logs in."""
        metadata = await self._discover()
        return _with_query(
            metadata.authorization_endpoint,
            response_type="code",
            client_id=self._settings.oidc_client_id,
            redirect_uri=self._redirect_uri,
            scope=self._settings.oidc_scopes,
            state=attempt.state,
            nonce=attempt.nonce,
            code_challenge=attempt.challenge,
            code_challenge_method="S256",
        )

    async def log_in(self, code: str, attempt: Attempt) -> LoggedIn:
        """Exchange the code that a browser brought; raise `LogInError` when it is no good."""
        tokens = await self._exchange(code, attempt)
        try:
            return await self._read(tokens, attempt)
        except (InvalidTokenError, TokenExpiredError):
            raise LogInError("The identity provider's answer cannot be trusted; log in again.") from None

    async def logout_url(self, id_token: str | None, return_to: str) -> str | None:
        """Return where a browser ends the provider's own session, if the provider has such a place."""
        metadata = await self._discover()
        if metadata.end_session_endpoint is None:
            return None
        hint = {"id_token_hint": id_token} if id_token else {}
        return _with_query(
            metadata.end_session_endpoint,
            client_id=self._settings.oidc_client_id,
            post_logout_redirect_uri=return_to,
            **hint,
        )

    async def person_of(self, access_token: str) -> Person:
        """Return whose access token it is; raises what `Verifier.access_claims` raises."""
        audience = self._settings.access_audience
        return Person.of(await self._verifier.access_claims(access_token, audience))

    async def _read(self, tokens: dict[str, Any], attempt: Attempt) -> LoggedIn:
        id_token = str(tokens.get("id_token"))
        client_id = self._settings.oidc_client_id
        person = Person.of(await self._verifier.id_claims(id_token, client_id, attempt.nonce))
        roles = await self._roles_in(str(tokens.get("access_token")), person.subject)
        return LoggedIn(replace(person, roles=person.roles | roles), id_token)

    async def _roles_in(self, access_token: str, subject: str) -> frozenset[str]:
        """Return the roles in an access token, where Keycloak puts them; others are opaque.

        It came from the provider itself, so that it need not be made for this server.
        """
        if len(access_token.split(".")) != _JWT_PARTS:
            return frozenset()
        try:
            person = Person.of(await self._verifier.access_claims(access_token, audience=None))
        except (InvalidTokenError, TokenExpiredError):
            return frozenset()
        return person.roles if person.subject == subject else frozenset()

    async def _exchange(self, code: str, attempt: Attempt) -> dict[str, Any]:
        settings = self._settings
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": attempt.verifier,
        }
        basic = None
        if settings.oidc_client_secret:
            basic = httpx.BasicAuth(
                *(quote(part, safe="") for part in (settings.oidc_client_id, settings.oidc_client_secret))
            )
        else:
            form["client_id"] = settings.oidc_client_id
        endpoint = (await self._discover()).token_endpoint
        return await self._json("POST", endpoint, refusals=(400,), data=form, auth=basic)

    async def _discover(self) -> Metadata:
        """Return the provider's metadata, fetched once."""
        if self._metadata is None:
            url = self._issuer.rstrip("/") + "/.well-known/openid-configuration"
            try:
                found = Metadata.model_validate(await self._json("GET", url))
            except ValidationError as error:
                raise ConfigurationError(f"{url} is no provider's configuration.") from error
            if found.issuer != self._issuer:
                raise ConfigurationError(
                    f"OIDC_ISSUER is {self._issuer}, but it calls itself {found.issuer}."
                )
            self._metadata = found
        return self._metadata

    async def _published_keys(self) -> dict[str, Any]:
        return await self._json("GET", (await self._discover()).jwks_uri)

    async def _json(
        self, method: str, url: str, *, refusals: Sequence[int] = (), **more: Any
    ) -> dict[str, Any]:
        try:
            response = await self._http.request(method, url, **more)
            document = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ProviderUnavailableError(f"{url} does not answer ({type(error).__name__}).") from error
        if response.status_code in refusals:
            raise LogInError
        if response.status_code != HTTPStatus.OK or not isinstance(document, dict):
            raise ProviderUnavailableError(f"{url} answers {response.status_code}.")
        return document


def _with_query(url: str, **parameters: str) -> str:
    return str(httpx.URL(url).copy_merge_params(parameters))
