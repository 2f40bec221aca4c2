"""`credits grant` and `credits allocate`: where credits come from."""

from typing import Annotated, cast

import typer

from credit_sdk.amounts import format_credits
from credit_sdk.cli._options import AsJson, Credits, RequestId, Url
from credit_sdk.models import ResetPeriod

_PERIODS = ("daily", "weekly", "monthly", "never")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(grant)
    app.command()(allocate)


def grant(
    credits: Credits,
    *,
    org: Annotated[str | None, typer.Option("--org", help="To this organisation's pool.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="To this user's own balance.")] = None,
    description: Annotated[str | None, typer.Option(help="Why; users see it.", show_default=False)] = None,
    paid: Annotated[str, typer.Option(help="What an organisation paid for it, in USD.")] = "0",
    expires_in_days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="What is not used by then expires; else never.")
    ] = None,
    priority: Annotated[
        int | None, typer.Option(min=0, max=1_000, help="Lower is used first; 100 where nothing is said.")
    ] = None,
    request_id: RequestId = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Add credits to an organisation's pool or to a user's own balance."""
    if (org is None) == (user is None):
        raise typer.BadParameter("give either --org or --user.", param_hint="--org")
    if org is None and paid != "0":
        raise typer.BadParameter("what was paid is kept for organisations only.", param_hint="--paid")
    if user is None and description is not None:
        raise typer.BadParameter("it is kept for users only.", param_hint="--description")
    if org is not None:
        from credit_sdk.service import CreditDeductionService  # noqa: PLC0415 - `--help` needs no books

        with CreditDeductionService(url, outbox=False) as billing:
            change = billing.add_credits(
                org,
                credits,
                purchase_amount=paid,
                request_id=request_id,
                expires_in_days=expires_in_days,
                priority=priority,
            )
        left = format_credits(change.available_credits)
        sentence = f"The pool of {org} has {left} credits that are not allocated."
        print(change.model_dump_json() if as_json else sentence)
        return
    from credit_sdk.operations import GrantCredits, parse  # noqa: PLC0415
    from credit_sdk.sdk import CreditSDK  # noqa: PLC0415

    fields = {
        "user_id": user,
        "credits": credits,
        "description": description,
        "request_id": request_id,
        "expires_in_days": expires_in_days,
        "priority": priority,
    }
    with CreditSDK(url, outbox=False) as sdk:
        granted = sdk.execute(
            parse(GrantCredits, {name: value for name, value in fields.items() if value is not None})
        )
    sentence = f"User {granted.user_id} has {format_credits(granted.credits)} credits."
    print(granted.model_dump_json() if as_json else sentence)


def allocate(
    org_id: Annotated[str, typer.Argument(help="The organisation.", show_default=False)],
    user_id: Annotated[str, typer.Argument(help="The member.", show_default=False)],
    credits: Credits,
    *,
    reset_period: Annotated[
        str | None, typer.Option(help=f"When what was used begins anew: {', '.join(_PERIODS)}.")
    ] = None,
    notes: Annotated[str | None, typer.Option(help="Kept with the allocation.", show_default=False)] = None,
    request_id: RequestId = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Add credits of an organisation's pool to what a member may spend."""
    from credit_sdk.account import parse_account  # noqa: PLC0415 - `--help` needs no books
    from credit_sdk.service import CreditDeductionService  # noqa: PLC0415

    if reset_period not in {None, *_PERIODS}:
        raise typer.BadParameter(f"choose one of {', '.join(_PERIODS)}.", param_hint="--reset-period")
    with CreditDeductionService(url, outbox=False) as billing:
        change = billing.allocate(
            parse_account(user_id, org_id),
            credits,
            reset_period=cast("ResetPeriod | None", reset_period),
            notes=notes,
            request_id=request_id,
        )
    if as_json:
        print(change.model_dump_json())
        return
    allocated, unused = format_credits(change.allocated_credits), format_credits(change.remaining_credits)
    print(f"{user_id} has {allocated} credits allocated in {org_id}: {unused} not used, open holds included.")
