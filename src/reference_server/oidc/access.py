"""Whose access token a request carries."""

from dataclasses import dataclass, field
from hashlib import sha256

from credit_sdk.backends.sql import AsyncSqlBackend
from credit_sdk.errors import InvalidTokenError
from reference_server.callers import Session
from reference_server.identities import recognise
from reference_server.oidc.provider import Provider
from reference_server.oidc.tokens import Person
from reference_server.remembering import Remembered

BELIEVED_SECONDS = 60


@dataclass(slots=True)
class ProviderTokens:
    """Knows people by the provider's access tokens.

    A signature is verified once a minute. What the person may do here is asked each time.
    """

    provider: Provider
    backend: AsyncSqlBackend
    system_admin_role: str
    _people: Remembered[Person] = field(default_factory=Remembered)

    async def session_of(self, token: str) -> Session:
        """Return whose token it is, made known here on first sight."""
        key = sha256(token.encode()).digest()
        person = self._people.get(key) or await self.provider.person_of(token)
        self._people.keep(key, person, min(BELIEVED_SECONDS, person.seconds_left))
        return await self.session_of_person(person)

    async def session_of_person(self, person: Person) -> Session:
        """Return who a person is here; raise `InvalidTokenError` for one who was switched off."""
        found = await recognise(self.backend, person.subject, person.email, person.name)
        if found is None:
            raise InvalidTokenError
        is_system_admin = found["is_system_admin"] or self.system_admin_role in person.roles
        return Session(person.subject, is_system_admin=is_system_admin, roles=found["roles"])
