"""What every operation is made of: its base, the types of its fields, and how it is read from outside."""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    WithJsonSchema,
)
from pydantic.config import JsonDict

from credit_sdk.errors import FieldError, ValidationFailedError
from credit_sdk.redaction import redact, redact_text

LARGEST_METADATA_BYTES = 16 * 1024
DEEPEST_METADATA = 8
LONGEST_HOLD_SECONDS = 86_400
DEFAULT_HOLD_SECONDS = 900
LARGEST_BATCH = 1_000
LARGEST_PAGE = 500
SOMETHING_MORE: JsonDict = {
    "anyOf": [
        {"required": ["credits"], "properties": {"credits": {"type": ["number", "string"]}}},
        {"required": ["ttl_seconds"], "properties": {"ttl_seconds": {"type": "integer"}}},
    ]
}
"""What an extension of a hold has to say, as a JSON Schema."""
QUESTION_WORDS = ("Check", "Get", "List", "Verify")

ResultT_co = TypeVar("ResultT_co", bound=BaseModel, covariant=True)
OperationT = TypeVar("OperationT", bound="Operation[Any]")


def storable_text(text: str) -> str:
    """Refuse what PostgreSQL cannot keep as text: U+0000 and lone surrogates."""
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must not contain U+0000 or lone surrogates")
    return text


def _whole(value: object) -> object:
    """Refuse what only Python takes for an integer: booleans and strings such as `1_0`."""
    if isinstance(value, bool | str):
        raise ValueError("must be a whole number")  # noqa: TRY004 - pydantic reads ValueError
    return value


_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _number_as_id(value: object) -> object:
    """Let users be named by their number in the user ledger."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else value


def _moment(value: object) -> object:
    """Refuse seconds since 1970, as a number or as text: a time is written in ISO 8601."""
    if isinstance(value, int | float) or (isinstance(value, str) and not _DATE.match(value)):
        raise ValueError("must be a date and time in ISO 8601, with a zone")
    return value


def _metadata(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Check the size and depth of metadata, and take secrets out of it."""
    if not value:
        return value
    if _depth(value) > DEEPEST_METADATA:
        raise ValueError(f"must not be nested deeper than {DEEPEST_METADATA} levels")
    try:
        size = len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
    except ValueError as error:
        raise ValueError("must be JSON: no NaN, no infinity, no lone surrogates") from error
    if size > LARGEST_METADATA_BYTES:
        raise ValueError(f"must be at most {LARGEST_METADATA_BYTES} bytes of JSON, not {size}")
    storable_text(_texts(value))
    redacted: dict[str, JsonValue] = redact(value)
    return redacted


def _depth(value: JsonValue) -> int:
    levels, layer = 0, [value]
    while layer:
        containers = [item for item in layer if isinstance(item, dict | list)]
        layer = [
            child for item in containers for child in (item.values() if isinstance(item, dict) else item)
        ]
        levels += bool(containers)
        if levels > DEEPEST_METADATA:
            break
    return levels


def _texts(value: JsonValue) -> str:
    match value:
        case str():
            return value
        case dict():
            return "".join([*value, *map(_texts, value.values())])
        case list():
            return "".join(map(_texts, value))
        case _:
            return ""


def expires_once(expires_at: AwareDatetime | None, expires_in_days: int | None) -> None:
    """Refuse credits that would expire at two times."""
    if expires_at is not None and expires_in_days is not None:
        raise ValueError("give expires_at or expires_in_days, not both")


# Ids travel in paths and headers and are compared byte by byte, so they are printable ASCII.
_PRINTABLE = r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$"
# Last in an annotation, so that the bounds before it reach the JSON schema.
Whole = BeforeValidator(_whole)
Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]
OrgId = Annotated[str, Field(min_length=1, max_length=36, pattern=_PRINTABLE)]
UserId = Annotated[str, Field(min_length=1, max_length=255, pattern=_PRINTABLE)]
AnyUserId = Annotated[
    UserId,
    BeforeValidator(_number_as_id),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1, "maxLength": 255, "pattern": _PRINTABLE},
                {"type": "integer", "minimum": 0},
            ]
        },
        mode="validation",
    ),
]
RequestId = Annotated[str, Field(min_length=1, max_length=255, pattern=_PRINTABLE)]
ApiKeyId = Annotated[str, Field(min_length=1, max_length=255, pattern=_PRINTABLE)]
ServiceType = Annotated[str, Field(min_length=1, max_length=100, pattern=_PRINTABLE)]
ServiceName = Annotated[
    str, Field(min_length=1, max_length=255), AfterValidator(storable_text), AfterValidator(redact_text)
]
Notes = Annotated[str, Field(max_length=2_000), AfterValidator(storable_text), AfterValidator(redact_text)]
Metadata = Annotated[dict[str, JsonValue], AfterValidator(_metadata)]
HoldSeconds = Annotated[int, Field(ge=1, le=LONGEST_HOLD_SECONDS), Whole]
ExpiryDays = Annotated[int, Field(ge=1, le=36_500), Whole]
LotPriority = Annotated[int, Field(ge=0, le=1_000), Whole]
Cursor = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[A-Za-z0-9_-]+$")]


class Operation(BaseModel, Generic[ResultT_co]):
    """A frozen request to the ledger, answered by a `ResultT_co`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    result: ClassVar[type[BaseModel]]
    idempotency: ClassVar[str | None] = None
    """The field that carries the request id of an operation that changes something."""
    is_question: ClassVar[bool] = False
    """Whether it changes nothing; its name says so, as it says the name of the stored function."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Take the result type from the base: `class Deduct(Operation[Receipt])`."""
        super().__pydantic_init_subclass__(**kwargs)
        cls.is_question = cls.__name__.startswith(QUESTION_WORDS)
        for base in cls.__mro__[1:]:
            arguments = getattr(base, "__pydantic_generic_metadata__", {}).get("args")
            if arguments:
                cls.result = arguments[0]
                return


def parse(kind: type[OperationT], fields: Mapping[str, Any]) -> OperationT:
    """Make an operation out of fields from outside.

    Raises `InvalidAmountError` or `ValidationFailedError`, which name the argument; values are not repeated.
    """
    try:
        operation: OperationT = kind.__pydantic_validator__.validate_python(fields)
    except ValidationError as error:
        raise validation_failed(error) from None
    return operation


def validation_failed(error: ValidationError) -> ValidationFailedError:
    """Turn pydantic's error into the one that the specification names."""
    errors = [
        FieldError(loc=list(entry["loc"]), msg=_sentence(entry["msg"]), type=entry["type"])
        for entry in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    first = errors[0]
    where = ".".join(map(str, first["loc"])) or "The request"
    more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
    return ValidationFailedError(f"{where}: {first['msg']}{more}", errors=errors)


def _sentence(message: str) -> str:
    if message.startswith("Input should be a valid UUID"):
        return "must be a UUID, such as the id in the answer that made it"
    return message.removeprefix("Value error, ").replace(
        _PRINTABLE, "printable ASCII without blanks at the ends"
    )
