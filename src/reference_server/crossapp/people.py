"""What the database knows of applications, their keys and their users' sessions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from credit_sdk.backends.sql import AsyncSqlBackend
from credit_sdk.errors import InvalidTokenError, PermissionDeniedError
from credit_sdk.models.crossapp import AppInfo, AppUser, CreditPackage, Permission
from reference_server.crossapp.tokens import Issued, SigningKey, issue
from reference_server.identities import ask

GRACE_SECONDS = 60
"""How long a token works that was exchanged for a new one: the answer may be lost, and be asked for again."""

WRONG_PASSWORD = "Email or password is wrong."  # noqa: S105 - a sentence

_FIND_LOGIN = "SELECT identity.find_login($1, $2, $3)"
_FIND_SESSION = "SELECT identity.find_app_session($1, $2, $3, $4)"
_OPEN_SESSION = "SELECT identity.open_app_session($1, $2, $3, $4, $5::jsonb, $6, $7, $8, $9)"
_CLOSE_SESSION = "SELECT identity.close_app_session($1)"
_SIGNING_KEY = "SELECT identity.signing_key()"
_KEEP_SIGNING_KEY = "SELECT identity.keep_signing_key($1, $2, $3)"
_REHASH = "SELECT identity.rehash_password($1, $2, $3)"
_NOTE_USAGE = "SELECT identity.note_app_usage($1, $2)"
_PACKAGES = "SELECT identity.list_packages()"


@dataclass(frozen=True, slots=True)
class App:
    """An application that has shown who it is."""

    info: AppInfo
    permissions: tuple[Permission, ...]
    has_key: bool
    """Whether the request carried its API key."""

    @classmethod
    def of(cls, row: Mapping[str, Any] | None) -> "App":
        """Read a row; raise `InvalidTokenError` for an application that is unknown or has another key."""
        if row is None or not row["key_fits"]:
            raise InvalidTokenError("The application is not known here, or its API key is missing or wrong.")
        info = AppInfo(app_id=row["app_id"], app_name=row["app_name"], app_domain=row["app_domain"])
        return cls(info, tuple(sorted(row["permissions"])), row["has_key"])

    def require(self, permission: Permission | None) -> None:
        """Raise `PermissionDeniedError` if it may not."""
        if permission is not None and permission not in self.permissions:
            raise PermissionDeniedError(f"The application has no permission {permission}.")


@dataclass(frozen=True, slots=True)
class Person:
    """A user."""

    id: int
    subject: str | None
    email: str
    name: str | None
    user_type: str
    credits: Decimal
    available: Decimal

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Person":
        """Read a row."""
        return cls(
            row["user_id"],
            row["subject"],
            row["email"],
            row["name"],
            row["user_type"],
            Decimal(row["credits"]),
            Decimal(row["available"]),
        )

    def seen_by(self, app: App) -> AppUser:
        """Return what an application may know of the user."""
        known: dict[str, Any] = {"user_id": self.id, "permissions": app.permissions}
        if "read_user_info" in app.permissions:
            known |= {
                "email": self.email,
                "name": self.name,
                "user_type": self.user_type,
                "is_admin": self.user_type == "admin",
                "is_customer": self.user_type == "customer",
            }
        if "read_credits" in app.permissions:
            known["credits"] = self.credits
        return AppUser(**known)


@dataclass(frozen=True, slots=True)
class People:
    """Asks the database."""

    backend: AsyncSqlBackend

    async def find_login(self, app_id: str, key_digest: bytes | None, email: str) -> dict[str, Any]:
        """Return the rows of the application and of the user with that email."""
        return await self._row(_FIND_LOGIN, app_id, key_digest, email)

    async def find_session(
        self, app_id: str, key_digest: bytes | None, kid: str, jti: UUID
    ) -> dict[str, Any]:
        """Return the rows by which a token is judged."""
        return await self._row(_FIND_SESSION, app_id, key_digest, kid, jti)

    async def open_session(
        self,
        app_id: str,
        user_id: int,
        *,
        app_user_id: str | None = None,
        app_metadata: Mapping[str, Any] | None = None,
        replaces: UUID | None = None,
        password_hash: str | None = None,
    ) -> Issued:
        """Open a session and return its token; one that it replaces ends a little later.

        Raises `InvalidTokenError` if that one has ended meanwhile, or if `password_hash` is no longer the
        user's.
        """
        key = await self._signing_key()
        issued = issue(key["kid"], key["private_key"], app_id, user_id)
        metadata = None if app_metadata is None else json.dumps(app_metadata)
        ends: datetime = issued.expires_at
        is_open = await ask(
            self.backend,
            _OPEN_SESSION,
            issued.jti,
            app_id,
            user_id,
            app_user_id,
            metadata,
            ends,
            replaces,
            GRACE_SECONDS,
            password_hash,
        )
        if not is_open:
            raise InvalidTokenError(WRONG_PASSWORD if password_hash else None)
        return issued

    async def close_session(self, jti: UUID) -> None:
        """End a session, and all that came of the same log-in."""
        await ask(self.backend, _CLOSE_SESSION, jti)

    async def rehash_password(self, user_id: int, old: str, new: str) -> bool:
        """Replace the hash of a password by another one of the same; say whether it still was that hash."""
        return bool(await ask(self.backend, _REHASH, user_id, old, new))

    async def note_usage(self, app_id: str, transaction_id: int) -> None:
        """Note for which application a charge was taken."""
        await ask(self.backend, _NOTE_USAGE, app_id, transaction_id)

    async def packages(self) -> tuple[CreditPackage, ...]:
        """Return what is for sale."""
        rows = await ask(self.backend, _PACKAGES)
        return tuple(CreditPackage.model_validate(row) for row in rows)

    async def _signing_key(self) -> dict[str, Any]:
        found: dict[str, Any] | None = await ask(self.backend, _SIGNING_KEY)
        if found is not None:
            return found
        new = SigningKey.new()
        return await self._row(_KEEP_SIGNING_KEY, new.kid, new.private_key, new.public_key)

    async def _row(self, statement: str, *parameters: object) -> dict[str, Any]:
        row: dict[str, Any] = await ask(self.backend, statement, *parameters)
        return row
