"""Whose password it is."""

from dataclasses import dataclass
from typing import Any

from credit_sdk.errors import InvalidTokenError
from credit_sdk.operations.crossapp import LogIn
from reference_server.crossapp.people import WRONG_PASSWORD, People, Person
from reference_server.passwords import PasswordCheck


@dataclass(frozen=True, slots=True)
class Recognised:
    """Somebody who knew their password."""

    person: Person
    password_hash: str
    """What it fitted. A session is opened for as long as this is the password."""


async def recognise(
    people: People, passwords: PasswordCheck, login: LogIn, user: dict[str, Any] | None
) -> Recognised:
    """Return whose password it is. Who is not known takes as long, and gets the same answer."""
    while True:
        kept: str | None = user["password_hash"] if user else None
        if not await passwords.fits(login.password, kept) or user is None or kept is None:
            raise InvalidTokenError(WRONG_PASSWORD)
        better = await passwords.rehashed(login.password, kept)
        if better is None:
            return Recognised(Person.of(user), kept)
        if await people.rehash_password(user["user_id"], kept, better):
            return Recognised(Person.of(user), better)
        # It was replaced meanwhile, by another log-in or by another password.
        user = (await people.find_login(login.app_id, None, login.email))["user"]
