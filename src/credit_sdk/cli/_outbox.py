"""`credits outbox`: what is owed and not confirmed, and its delivery."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from credit_sdk.amounts import format_credits
from credit_sdk.cli._options import AsJson, Url
from credit_sdk.cli._progress import busy
from credit_sdk.errors import NotFoundError, OutboxError
from credit_sdk.outbox import VARIABLE, Outbox, default_path

File = Annotated[
    Path | None,
    typer.Option(
        "--outbox", help=f"The outbox; else {VARIABLE} or the user's state folder.", show_default=False
    ),
]

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def register(app: typer.Typer) -> None:
    """Add the commands."""
    outbox = typer.Typer(help="Charges that are not confirmed yet.", no_args_is_help=True)
    outbox.command("list")(list_entries)
    outbox.command()(flush)
    outbox.command()(discard)
    app.add_typer(outbox, name="outbox")


def list_entries(outbox: File = None, as_json: AsJson = False) -> None:
    """Show what is kept: how old it is, for which books, and why it was not delivered."""
    entries = _open(outbox).entries()
    if as_json:
        print(json.dumps([entry.model_dump(mode="json") for entry in entries]))
        return
    if not entries:
        print("The outbox is empty.")
    for entry in entries:
        what = "a record that cannot be read"
        if entry.charge is not None:
            charge = entry.charge
            payer = f"{charge.user_id} of {charge.org_id}" if charge.org_id else charge.user_id
            what = f"{format_credits(charge.credits)} credits, {charge.service_type}, {payer}"
        reason = f": {entry.reason}" if entry.reason else ""
        print(
            f"{entry.entry_id}  {_age(entry.age_seconds)}  {entry.state}  {what}  "
            f"({entry.destination}, {entry.attempts} attempts){reason}"
        )


def flush(url: Url = None, outbox: File = None, as_json: AsJson = False) -> None:
    """Deliver what is kept for these books, once; what cannot be delivered stays. Exit code 1 then."""
    from credit_sdk.service import CreditDeductionService  # noqa: PLC0415

    with CreditDeductionService(url, outbox=False) as billing:
        kept = _open(outbox)
        with busy("Delivering"):
            delivery = billing.flush_outbox(kept)
    if as_json:
        print(delivery.model_dump_json())
    else:
        print(
            f"{delivery.delivered} charged ({format_credits(delivery.credits_charged)} credits), "
            f"{delivery.released} given back, {delivery.kept} kept."
        )
    raise typer.Exit(1 if delivery.kept else 0)


def discard(
    entry_id: Annotated[str, typer.Argument(help="The first column of `credits outbox list`.")],
    outbox: File = None,
) -> None:
    """Give a charge up for ever: nothing is charged for it."""
    if not _open(outbox).discard(entry_id):
        raise NotFoundError(f"The outbox keeps no charge {entry_id}.")
    print(f"Charge {entry_id} was given up.")


def _open(path: Path | None) -> Outbox:
    chosen = path or default_path(os.environ)
    if chosen is None:
        raise OutboxError(f"{VARIABLE} says that there is no outbox; name one with --outbox.")
    return Outbox(chosen)


def _age(seconds: float) -> str:
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= unit:
            return f"{seconds // unit:.0f} {name}"
    return f"{seconds:.0f} s"
