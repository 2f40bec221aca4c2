"""Forms: what was entered, and sentences about it at its field."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from starlette.requests import Request

from credit_sdk.errors import CreditError, MalformedRequestError, ValidationFailedError
from credit_sdk.identifiers import new_request_id
from reference_server.bodies import read_body
from reference_server.encoding import described
from reference_server.problems import UnsupportedMediaTypeError

FORM_TYPE = "application/x-www-form-urlencoded"
LARGEST_FORM = 16 * 1024
MOST_FIELDS = 20


@dataclass(frozen=True, slots=True)
class Form:
    """What stands in a form's fields and what is wrong with it. `subject` tells forms of one page apart."""

    subject: str = ""
    entered: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    """Sentences by field."""
    request_id: str = field(default_factory=new_request_id)
    """Sent along, so that a form that is sent twice is carried out once."""

    def refused(self, error: CreditError, labels: Mapping[str, str]) -> "Form":
        """Return the form with the error at its field, or at the first one if it is about none."""
        shown = described(error)
        errors = shown.errors if isinstance(shown, ValidationFailedError) else []
        named = {str(entry["loc"][0]): entry["msg"] for entry in errors if entry["loc"]}
        problems = {
            name: _sentence(labels[name], message) for name, message in named.items() if name in labels
        }
        return Form(
            self.subject,
            self.entered,
            problems or _sentence_at(shown.detail, labels),
            self.request_id,
        )


async def read_form(request: Request, seconds: float) -> dict[str, str]:
    """Return the fields of a form that are not empty, as they were typed.

    Raises `UnsupportedMediaTypeError`, `MalformedRequestError`, and what `read_body` raises.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM_TYPE:
        raise UnsupportedMediaTypeError(f"The body must be a form: {FORM_TYPE}.")
    body = await read_body(request, largest=LARGEST_FORM, seconds=seconds)
    return read_fields(body.decode("latin-1"))


def read_fields(text: str) -> dict[str, str]:
    """Return the fields of a form or a query that are not empty; raise `MalformedRequestError`."""
    try:
        pairs = parse_qsl(text, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:  # too many, or not UTF-8
        raise MalformedRequestError("The form cannot be read.") from None
    if len(dict(pairs)) != len(pairs):
        raise MalformedRequestError("The form names a field twice.")
    return {name: value for name, value in pairs if value.strip()}


def trimmed(fields: Mapping[str, str]) -> dict[str, str]:
    """Return fields without the blanks around what was typed."""
    return {name: value.strip() for name, value in fields.items()}


def _sentence_at(detail: str, labels: Mapping[str, str]) -> dict[str, str]:
    """Put a sentence at the field that it begins with, else at the first one."""
    for name, label in labels.items():
        if detail.startswith(name):
            return {name: _sentence(label, detail.removeprefix(name).lstrip(": "))}
    return {next(iter(labels)): detail}


def _sentence(label: str, message: str) -> str:
    text = f"{label}: {message[:1].lower()}{message[1:]}"
    return text if text.endswith(".") else f"{text}."
