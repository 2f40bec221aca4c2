"""The lines of an archive: what stands around the rows."""

import json
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

_LineT = TypeVar("_LineT", bound=BaseModel)


class TransferError(RuntimeError):
    """An organisation cannot be exported or imported; the message says why and what to do."""


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Opening(_Line):
    """The first line: whose books follow, and the version of the schema that they are in."""

    format: Literal["credits-organization-1"] = "credits-organization-1"
    org_id: str = Field(min_length=1, max_length=36)
    schema_version: int


class Table(_Line):
    """How many rows of a table there are, and their digest in the order of its primary key."""

    rows: int
    digest: str


class Head(_Line):
    """The end of the organisation's chain; `sequence` is 0 when nothing was sealed yet."""

    sequence: int
    digest: str


class Contents(_Line):
    """The last line: what a whole archive has."""

    tables: dict[str, Table]
    head: Head

    @property
    def rows(self) -> int:
        """How many rows there are in all tables."""
        return sum(table.rows for table in self.tables.values())


def row_line(table: str, row: str) -> str:
    """Return the line of a row, which PostgreSQL has written as JSON."""
    return f'{{"table": {json.dumps(table)}, "row": {row}}}\n'


def read_line(kind: type[_LineT], text: str, what: str) -> _LineT:
    """Return a line that is no row; raise `TransferError` for anything else."""
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        wrong = ".".join(map(str, error.errors()[0]["loc"])) or "it"
        raise TransferError(
            f"{what} cannot be read: {wrong} is not as `credits export` writes it. Is this one of its files?"
        ) from None


def read_row(text: str, number: int) -> tuple[str, dict[str, Any]] | None:
    """Return the table and the row of a line; None for a line that is no row's."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise TransferError(f"Line {number} is no JSON: the file is damaged, or ends too early.") from None
    if not isinstance(document, dict) or document.keys() != {"table", "row"}:
        return None
    table, row = document["table"], document["row"]
    if not isinstance(table, str) or not isinstance(row, dict):
        raise TransferError(f"Line {number} is not as `credits export` writes it.")
    return table, row
