"""What Stripe sends: signed, on the raw body, within a few minutes."""

import json
import logging
import re
import time
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from credit_sdk.errors import (
    FieldError,
    MalformedRequestError,
    PaymentsUnavailableError,
    ValidationFailedError,
)
from reference_server.payments.books import Books
from reference_server.payments.events import Event, facts_of
from reference_server.problems import InvalidSignatureError

logger = logging.getLogger(__name__)

TOLERANCE_SECONDS = 300
"""How old a signature may be, and how far in the future: longer, and a copy could be sent again."""
_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Webhook:
    """Applies the events that are signed with the secret; without one nothing can be."""

    books: Books
    secret: str | None

    async def receive(self, body: bytes, signature: str | None) -> dict[str, Any]:
        """Apply an event once and return what became of it.

        Raises `InvalidSignatureError`, and `ValidationFailedError` for an event that is kept and refused:
        Stripe sends it again and shows it to whoever looks at the account.
        """
        if self.secret is None:
            raise PaymentsUnavailableError
        verify(body, signature, self.secret)
        document = _document(body)
        try:
            event = Event.model_validate(document)
        except ValidationError:
            raise _invalid("The body is not an event of Stripe.") from None
        data = document.get("data")
        subject = data.get("object") if isinstance(data, dict) else None
        outcome = await self.books.receive_event(document, facts_of(event.type, subject))
        if outcome["outcome"] in {"refused", "unmatched"}:
            logger.warning("event %s of Stripe is %s: %s", event.id, outcome["outcome"], outcome["detail"])
        if outcome["outcome"] == "refused":
            raise _invalid(outcome["detail"])
        return {"received": True, "event_id": event.id, **outcome}


def verify(body: bytes, signature: str | None, secret: str) -> None:
    """Raise `InvalidSignatureError` unless the header signs this body now."""
    import stripe  # noqa: PLC0415 - a server without payments does not wait for it

    # The library takes the first of several times, and looks at signatures of the past only.
    times = [part[2:] for part in (signature or "").split(",") if part.startswith("t=")]
    if len(times) != 1 or not _SECONDS.fullmatch(times[0]) or not (signature or "").isascii():
        raise InvalidSignatureError
    try:
        stripe.WebhookSignature.verify_header(body, signature, secret, TOLERANCE_SECONDS)
    except (stripe.SignatureVerificationError, UnicodeDecodeError):
        raise InvalidSignatureError from None
    if int(times[0]) > time.time() + TOLERANCE_SECONDS:
        raise InvalidSignatureError


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedRequestError("The body is not JSON.") from None
    if not isinstance(document, dict):
        raise _invalid("The body must be a JSON object.")
    if "\\u0000" in json.dumps(document):
        raise _invalid("The body has a character that no text has.")
    return document


def _invalid(detail: str) -> ValidationFailedError:
    return ValidationFailedError(detail, errors=[FieldError(loc=[], msg=detail, type="stripe_event")])
