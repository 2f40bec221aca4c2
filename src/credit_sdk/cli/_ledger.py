"""Commands on the books themselves."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from credit_sdk.amounts import MILLICREDITS_PER_CREDIT, format_credits, from_millicredits
from credit_sdk.cli._chain import Check, Head, check_chain, export_chain, show_chain
from credit_sdk.cli._options import AsJson, DatabaseUrl, Url
from credit_sdk.cli._progress import busy
from credit_sdk.cli._tables import show_table
from credit_sdk.errors import NotAMemberError, NotFoundError

_LONGEST_SECONDS = 86_400
"""Verifying reads every row there is, and nobody waits for an answer to a customer."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(balance)
    app.command()(verify)


def balance(
    user_id: Annotated[str, typer.Argument(help="The user.")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show what a user has left: in each organisation, and of their own."""
    from credit_sdk._flows import require_known  # noqa: PLC0415
    from credit_sdk.operations import GetBalance, parse  # noqa: PLC0415
    from credit_sdk.service import CreditDeductionService  # noqa: PLC0415

    with CreditDeductionService(url, outbox=False) as billing:
        standing = billing.user_credits(user_id)
        require_known(standing)
        own = billing.execute(parse(GetBalance, {"user_id": user_id})) if standing.has_balance else None
    if as_json:
        own_balance = None if own is None else own.model_dump(mode="json")
        print(json.dumps(standing.model_dump(mode="json") | {"balance": own_balance}))
        return
    rows: list[tuple[object, ...]] = [
        (
            each.org_id,
            "default" if each.is_default else "",
            each.remaining_credits,
            each.held_credits,
            each.allocated_credits,
        )
        for each in standing.organizations
    ]
    if own is not None:
        rows.append(("own balance", "" if own.is_active else "inactive", own.credits, own.held_credits, None))
    show_table(["pays", "", "left", "of which held", "allocated"], rows)


def verify(
    org_id: Annotated[str | None, typer.Argument(help="One organisation, else all.")] = None,
    *,
    export: Annotated[
        Path | None,
        typer.Option(help="Write the organisation's chain to a file instead.", show_default=False),
    ] = None,
    after: Annotated[int, typer.Option(min=0, help="Export what is behind this sequence number.")] = 0,
    check: Check = None,
    head: Head = None,
    url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Recompute every balance and every link of the chains from the append-only rows.

    Each difference is named, and the first sequence number of a chain that does not fit.
    """
    if check is not None:
        check_chain(check, head=head, as_json=as_json)
        return
    from credit_sdk.operations import VerifyChain, VerifyLedger, parse  # noqa: PLC0415
    from credit_sdk.service import CreditDeductionService  # noqa: PLC0415

    with CreditDeductionService(url, outbox=False, timeout=_LONGEST_SECONDS) as billing:
        if export is not None:
            if org_id is None:
                raise typer.BadParameter("name the organisation whose chain to export.", param_hint="ORG_ID")
            export_chain(billing, org_id, export, after=after)
            return
        try:
            with busy("Adding the books up"):
                outcome = billing.execute(parse(VerifyLedger, {"org_id": org_id}))
        except NotAMemberError:
            # So do operations of a member refuse an organisation that does not exist.
            raise NotFoundError(f"There is no organisation {org_id!r}.") from None
        with busy("Computing the chains anew"):
            chain = billing.execute(parse(VerifyChain, {"org_id": org_id}))
    if as_json:
        print(json.dumps(outcome.model_dump(mode="json") | {"chain": chain.model_dump(mode="json")}))
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
        show_chain(chain)
    raise typer.Exit(0 if outcome.ok and chain.ok else 1)


def _credits(millicredits: int) -> str:
    return format_credits(Decimal(from_millicredits(millicredits, MILLICREDITS_PER_CREDIT)))
