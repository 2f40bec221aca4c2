"""Secrets are taken out of metadata before it leaves the process (SPEC section 8)."""

import re
from itertools import pairwise
from typing import Any

REDACTED = "[redacted]"

_WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+(?![a-z])")
_SECRET_WORDS = frozenset(
    {"password", "passwords", "passwd", "pwd", "passphrase", "secret", "secrets", "token", "authorization"}
    | {"cookie", "cookies", "credential", "credentials", "cvv", "cvc", "apikey", "apikeys", "bearer", "jwt"}
    | {"ssn", "pin"}
)
# Numbers under other secret words are counts, such as the token figures of a language model.
_SECRET_NUMBERS = frozenset({"password", "passwd", "pwd", "cvv", "cvc", "ssn", "pin"})
_SECRET_ENDINGS = ("password", "passwd", "secret", "apikey", "authtoken", "accesstoken", "sessiontoken")
_SECRET_PAIRS = frozenset(
    {
        ("api", "key"),
        ("api", "keys"),
        ("private", "key"),
        ("access", "key"),
        ("auth", "tokens"),
        ("secret", "key"),
        ("session", "id"),
    }
    | {("card", "number"), ("credit", "card"), ("account", "key"), ("encryption", "key"), ("signing", "key")}
)
_SECRET_VALUES = re.compile(
    r"""
      \b(?:sk|pk|rk|whsec)[_-](?:live|test|proj|ant)?[_-]?[A-Za-z0-9_-]{16,}   # Stripe, OpenAI, Anthropic
    | \bgh[pousr]_[A-Za-z0-9]{20,} | \bgithub_pat_[A-Za-z0-9_]{20,}
    | \bxox[abeprs]-[A-Za-z0-9-]{10,}                                          # Slack
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b                                            # AWS
    | \bAIza[A-Za-z0-9_-]{30,}                                                 # Google
    | \bcsk_[A-Za-z0-9_-]{20,} | \bcst_[A-Za-z0-9_-]{20,}                      # our own keys and sessions
    | \beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*                # JSON web tokens
    | (?i:\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{12,})
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----[\s\S]*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    | (?<=://)[^\s/:@]*:[^\s/@]+(?=@)                                          # user:password in an address
    """,
    re.VERBOSE,
)
_CARD_NUMBER = re.compile(r"(?<![\d.])[3-6]\d(?:[ -]?\d){11,17}(?![\d.])")


def redact(value: Any) -> Any:
    """Return a copy of a JSON value with secrets replaced by `[redacted]`.

    Secret are strings and containers under keys that name one (`password`, `api_key`; but not
    counts such as `tokens_used`), and strings that look like a key, a token or a card number.
    """
    match value:
        case dict():
            return {
                _redacted_key(key): REDACTED if _names_secret(key, item) else redact(item)
                for key, item in value.items()
            }
        case list() | tuple():
            return [redact(item) for item in value]
        case str():
            return redact_text(value)
        case int() if not isinstance(value, bool) and _is_card(str(value)):
            return REDACTED
        case _:
            return value


def redact_text(text: str) -> str:
    """Return the text with whatever looks like a secret replaced by `[redacted]`."""
    text = _SECRET_VALUES.sub(REDACTED, text)
    return _CARD_NUMBER.sub(lambda match: REDACTED if _is_card(match.group()) else match.group(), text)


def _redacted_key(key: object) -> object:
    return redact_text(key) if isinstance(key, str) else key


def _names_secret(key: object, value: object) -> bool:
    if value is None or isinstance(value, bool) or not isinstance(key, str):
        return False
    words = [word.lower() for word in _WORDS.findall(key)]
    if isinstance(value, int | float):
        return not _SECRET_NUMBERS.isdisjoint(words)
    return (
        not _SECRET_WORDS.isdisjoint(words)
        or not _SECRET_PAIRS.isdisjoint(pairwise(words))
        or any(word.endswith(_SECRET_ENDINGS) for word in words)
    )


def _is_card(text: str) -> bool:
    """Whether the digits form a payment card number (ISO/IEC 7812-1: a Luhn check digit)."""
    if not _CARD_NUMBER.fullmatch(text):
        return False
    digits = [int(character) for character in text if character.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]  # noqa: PLR2004 - 2 * 5 is the first of two digits
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
