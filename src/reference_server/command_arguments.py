"""What the commands are given, read as the API reads it: ids, emails and names that can be kept and shown."""

import re
import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from credit_sdk.errors import ValidationFailedError
from credit_sdk.operations._base import storable_text, validation_failed

_EMAIL = re.compile(r"[^\s@\x00-\x1f\x7f]+@[^\s@\x00-\x1f\x7f]+")
_NOT_IN_A_LINE = {"Cc", "Cs", "Zl", "Zp"}
"""Control characters, halves of characters, and what ends a line or a paragraph."""


def _email(text: str) -> str:
    if not _EMAIL.fullmatch(text):
        raise ValueError("this is no email address, such as ada@example.com")
    return text


def _one_line(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    if any(unicodedata.category(character) in _NOT_IN_A_LINE for character in text):
        raise ValueError("must be one line, without control characters")
    return text


NewEmail = Annotated[str, Field(max_length=320), AfterValidator(_email)]
Name = Annotated[str, Field(max_length=255), AfterValidator(_one_line)]
Text = Annotated[str, Field(max_length=10_000), AfterValidator(storable_text)]
PriceId = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")]


def checked(kind: Any, value: str, argument: str) -> str:
    """Return what an argument was given, which is of a type as the operations' fields are.

    Raises `ValidationFailedError`, which names the argument and does not repeat the value.
    """
    try:
        parsed: str = TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        [first, *_] = validation_failed(error).errors or []
        raise ValidationFailedError(f"{argument}: {first['msg']}.") from None
    return parsed


def checked_if_given(kind: Any, value: str | None, argument: str) -> str | None:
    """Return what an option was given, None if it was not."""
    return None if value is None else checked(kind, value, argument)
