"""`credits doctor`: find what is wrong between here and the books, and say how to mend it."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from credit_sdk.cli._findings import Finding
from credit_sdk.cli._options import AsJson, Url
from credit_sdk.errors import CreditError, OutboxError

if TYPE_CHECKING:
    from credit_sdk.models import OutboxEntry

_PATIENCE_SECONDS = 900
_SIGNS = {"ok": "ok", "warning": "warning", "failure": "FAILURE"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(url: Url = None, as_json: AsJson = False) -> None:
    """Find what is wrong, and say how to mend it. Exit code 1 when charges cannot work."""
    findings = list(_examine(url))
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            print(f"{_SIGNS[finding.verdict]:<8} {finding.check}: {finding.detail}")
            if finding.remedy:
                print(f"{'':<8} {finding.remedy}")
    raise typer.Exit(1 if any(finding.verdict == "failure" for finding in findings) else 0)


def _examine(url: str | None) -> Iterator[Finding]:
    try:
        yield from _examine_books(url)
    except CreditError as error:
        yield Finding("books", "failure", str(error))
    yield _outbox()


def _examine_books(url: str | None) -> Iterator[Finding]:
    from credit_sdk._connect import Options, address_from_environment, connect, key_from_environment  # noqa: PLC0415
    from credit_sdk.backends._wire_format import Credential  # noqa: PLC0415

    address = url if url is not None else address_from_environment(os.environ)
    connect(address, Credential(), Options())  # refuses an address that no backend can use
    if address.lower().startswith("postgres"):
        from credit_sdk.cli._doctor_database import examine_database  # noqa: PLC0415

        yield from examine_database(address)
    elif address.lower().startswith("http"):
        from credit_sdk.cli._doctor_server import examine_server  # noqa: PLC0415

        yield from examine_server(address, key_from_environment(os.environ))
    else:
        yield Finding(
            "books", "warning", "memory:// forgets everything when the process ends.", "For tests only."
        )


def _outbox() -> Finding:
    from credit_sdk.outbox import VARIABLE, Outbox, default_path  # noqa: PLC0415

    path = default_path(os.environ)
    if path is None:
        return Finding(
            "outbox",
            "warning",
            f"{VARIABLE} switches it off: a charge that is not confirmed when this process dies is lost.",
            f"Let {VARIABLE} name a file on a local disk.",
        )
    if not path.expanduser().exists():
        return Finding("outbox", "ok", f"{path} is not used yet.")
    try:
        entries = Outbox(path).entries()
    except OutboxError as error:
        return Finding("outbox", "failure", str(error), "docs/outbox.md says what to do with such a file.")
    return _waiting(str(path), entries)


def _waiting(path: str, entries: "list[OutboxEntry]") -> Finding:
    stuck = [entry for entry in entries if entry.age_seconds > _PATIENCE_SECONDS]
    if not stuck:
        return Finding("outbox", "ok", f"{path} keeps {len(entries)} charges that are not confirmed yet.")
    reason = next((f": {entry.reason}" for entry in stuck if entry.reason), ".")
    return Finding(
        "outbox",
        "warning",
        f"{path} keeps {len(stuck)} charges for longer than {_PATIENCE_SECONDS // 60} minutes{reason}",
        "See `credits outbox list`; mend the reason, then `credits outbox flush`.",
    )
