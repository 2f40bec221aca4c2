"""An application's own record of its operations, read from CSV or JSON lines, row by row."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn, TextIO

from pydantic import ValidationError

from credit_sdk.errors import ConfigurationError, CreditError, ValidationFailedError
from credit_sdk.operations import validation_failed
from credit_sdk.reconciliation import Recorded

NEEDED = ("request_id", "credits", "user_id", "service_type")
COLUMNS = (*NEEDED, "org_id", "status", "time")
DONE = ("done", "ok", "success", "succeeded", "completed")
FAILED = ("failed", "failure", "error", "canceled", "cancelled")
_IDS = ("org_id", "request_id", "user_id")
_DELIMITED = frozenset({".csv"})
_LINES = frozenset({".jsonl", ".ndjson", ".json"})


@dataclass(frozen=True, slots=True)
class Malformed:
    """A row that cannot be read: where, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class RecordFile:
    """A record, and how it is to be understood.

    `columns` gives our names theirs; `org_id` is that of rows which name none; `done` and `failed` are the
    words of the status column, in small letters.
    """

    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    org_id: str | None = None
    done: frozenset[str] = frozenset(DONE)
    failed: frozenset[str] = frozenset(FAILED)

    def rows(self) -> Iterator[Recorded | Malformed]:
        """Read row by row; raises `CreditError` when the file as a whole cannot be read."""
        suffix = self.path.suffix.lower()
        if suffix not in _DELIMITED | _LINES:
            raise ConfigurationError(f"{self.path} is neither .csv nor .jsonl: say so by its name.")
        try:
            # Bytes that are no text stay in the row, which is then refused with its line.
            with self.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
                for line, fields in self._delimited(file) if suffix in _DELIMITED else _documents(file):
                    yield fields if isinstance(fields, Malformed) else self._row(line, fields)
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be read: {error.strerror}.") from None

    def _name(self, ours: str) -> str:
        return self.columns.get(ours, ours)

    def _delimited(self, file: TextIO) -> "Iterator[tuple[int, dict[str, Any] | Malformed]]":
        reader = csv.reader(file, strict=True)
        header: list[str] | None = None
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                yield line, Malformed(line, f"it is no CSV ({error})")
                return
            if header is None:
                header = cells
                self._require_columns(header)
            elif cells and len(cells) != len(header):
                yield line, Malformed(line, f"it has {len(cells)} columns, and the header {len(header)}")
            elif cells:
                yield line, {name: cell for name, cell in zip(header, cells, strict=True) if cell != ""}
        if header is None:
            self._require_columns([])

    def _require_columns(self, header: list[str]) -> None:
        needed = [*NEEDED, *self.columns, *([] if self.org_id else ["org_id"])]
        for ours in needed:
            if self._name(ours) not in header:
                raise ValidationFailedError(
                    f"{self.path}, line 1: there is no column {self._name(ours)!r}; "
                    f"name it with --column {ours}=NAME."
                )

    def _row(self, line: int, fields: Mapping[str, Any]) -> Recorded | Malformed:
        known = {ours: fields[self._name(ours)] for ours in COLUMNS if self._name(ours) in fields}
        given = {name: value for name, value in known.items() if value is not None}
        status = given.pop("status", None)
        if status is not None:
            word = str(status).strip().lower()
            if word not in self.done | self.failed:
                return Malformed(line, f"status: {status!r} is neither a word of --done nor of --failed")
            given["is_done"] = word in self.done
        # Jobs are often counted.
        given |= {name: str(given[name]) for name in _IDS if type(given.get(name)) is int}
        try:
            return Recorded(**({"org_id": self.org_id} if self.org_id else {}) | given, line=line)
        except ValidationError as error:
            wrong = validation_failed(error).errors
            return Malformed(line, "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in wrong))
        except CreditError as error:
            return Malformed(line, error.detail)


def _documents(file: TextIO) -> "Iterator[tuple[int, dict[str, Any] | Malformed]]":
    for line, text in enumerate(file, start=1):
        if not text.strip():
            continue
        try:
            fields = json.loads(text, parse_float=Decimal, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            yield line, Malformed(line, f"it is no JSON ({error})")
            continue
        yield line, fields if isinstance(fields, dict) else Malformed(line, "it is no JSON object")


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
