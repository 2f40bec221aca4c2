"""Commands on the books themselves."""

import json
from decimal import Decimal
from typing import Annotated

import typer

from credit_sdk.amounts import MILLICREDITS_PER_CREDIT, format_credits, from_millicredits
from credit_sdk.errors import NotAMemberError, NotFoundError

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        "--database-url",
        help="A server (CREDIT_SDK_API_KEY says who calls it) or a database; "
        "else CREDIT_SDK_URL, DATABASE_URL or API_BASE_URL.",
        show_default=False,
    ),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--url",
        "--database-url",
        help="The database, postgresql://...; else CREDIT_SDK_URL or DATABASE_URL.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(balance)
    app.command()(verify)


def balance(
    user_id: Annotated[str, typer.Argument(help="The user.")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show what a user has left in each organisation."""
    from credit_sdk._flows import require_known  # noqa: PLC0415
    from credit_sdk.service import CreditDeductionService  # noqa: PLC0415

    with CreditDeductionService(url, outbox=False) as billing:
        standing = billing.user_credits(user_id)
    require_known(standing)
    if as_json:
        print(standing.model_dump_json())
        return
    if not standing.organizations:
        print(f"User {user_id} is in no organisation.")
    for each in standing.organizations:
        left = format_credits(each.remaining_credits)
        held = f", {format_credits(each.held_credits)} of them held" if each.held_credits else ""
        print(f"{each.org_id}: {left} of {format_credits(each.allocated_credits)} credits left{held}")


def verify(
    org_id: Annotated[str | None, typer.Argument(help="One organisation, else all.")] = None,
    url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Recompute every balance from the append-only rows and name each difference."""
    from credit_sdk.operations import VerifyLedger, parse  # noqa: PLC0415
    from credit_sdk.service import CreditDeductionService  # noqa: PLC0415

    with CreditDeductionService(url, outbox=False) as billing:
        try:
            outcome = billing.execute(parse(VerifyLedger, {"org_id": org_id}))
        except NotAMemberError:
            # So do operations of a member refuse an organisation that does not exist.
            raise NotFoundError(f"There is no organisation {org_id!r}.") from None
    if as_json:
        print(json.dumps(outcome.model_dump(mode="json")))
    else:
        for each in outcome.differences:
            print(
                f"{each.org_id or 'users'}: {each.figure} of {each.subject} is {_credits(each.recorded)}, "
                f"but the rows say {_credits(each.recomputed)}"
            )
        verdict = "the books agree." if outcome.ok else "the books DO NOT agree."
        print(
            f"Organisations {outcome.organizations}, allocations {outcome.allocations}, "
            f"charges {outcome.charges}, users {outcome.users}, transactions {outcome.transactions}, "
            f"open holds {outcome.open_holds}: {verdict}"
        )
    raise typer.Exit(0 if outcome.ok else 1)


def _credits(millicredits: int) -> str:
    return format_credits(Decimal(from_millicredits(millicredits, MILLICREDITS_PER_CREDIT)))
