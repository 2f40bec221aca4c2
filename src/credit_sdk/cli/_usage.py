"""`credits usage`: what an organisation used, by service, by user and by day."""

from typing import Annotated

import typer

from credit_sdk.amounts import format_credits
from credit_sdk.cli._options import AsJson, Url
from credit_sdk.cli._tables import show_table


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(usage)


def usage(
    org_id: Annotated[str, typer.Argument(help="The organisation.", show_default=False)],
    *,
    days: Annotated[int, typer.Option(min=1, max=366, help="How far back.")] = 30,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Sum what an organisation used."""
    from credit_sdk.service import CreditDeductionService  # noqa: PLC0415 - `--help` needs no books

    with CreditDeductionService(url, outbox=False) as billing:
        used = billing.usage(org_id, days=days)
    if as_json:
        print(used.model_dump_json())
        return
    print(
        f"{org_id} used {format_credits(used.total_credits_used)} credits "
        f"in {used.total_charges:,} charges since {used.since:%Y-%m-%d}."
    )
    if not used.total_charges:
        return
    for heading, rows in (
        ("service", [(each.service_type, each.charges, each.credits_used) for each in used.by_service]),
        ("user", [(each.user_id, each.charges, each.credits_used) for each in used.by_user]),
        ("day", [(each.day, each.charges, each.credits_used) for each in used.by_day]),
    ):
        print()
        show_table([heading, "charges", "credits"], rows)
