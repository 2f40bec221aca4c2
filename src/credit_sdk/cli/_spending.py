"""`credits charge`, `credits hold` and `credits refund`."""

import json
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from credit_sdk.amounts import format_credits
from credit_sdk.cli._options import AsJson, Credits, Org, RequestId, Url

if TYPE_CHECKING:
    from credit_sdk.account import Account
    from credit_sdk.models import Hold
    from credit_sdk.service import CreditDeductionService

User = Annotated[str, typer.Argument(help="The user who pays.", show_default=False)]
HoldId = Annotated[UUID, typer.Argument(help="The id that `credits hold place` printed.", show_default=False)]
Service = Annotated[str, typer.Option("--service-type", help="What the credits are for.")]
ServiceName = Annotated[str | None, typer.Option(help="Which one of these services.", show_default=False)]
Metadata = Annotated[
    str | None, typer.Option(help="A JSON object that is kept with the charge.", show_default=False)
]
Own = Annotated[bool, typer.Option("--own", help="From the user's own balance, not an organisation's pool.")]
TimeToLive = Annotated[int, typer.Option("--ttl", min=1, max=86_400, help="Seconds until it expires.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(charge)
    hold = typer.Typer(help="Set credits aside, and charge or give them back later.", no_args_is_help=True)
    hold.command()(place)
    hold.command()(show)
    hold.command()(capture)
    hold.command()(void)
    app.add_typer(hold, name="hold")
    app.command()(refund)


def charge(
    user_id: User,
    credits: Credits,
    *,
    service_type: Service = "manual",
    service_name: ServiceName = None,
    org: Org = None,
    own: Own = False,
    request_id: RequestId = None,
    metadata: Metadata = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Charge a user: in the organisation named, else in their default one, else their own balance."""
    kept = _object(metadata)
    with _service(url) as billing:
        receipt = billing.deduct(
            _payer(billing, user_id, org, own=own),
            credits,
            service_type=service_type,
            service_name=service_name,
            request_id=request_id,
            metadata=kept,
        )
    if as_json:
        print(receipt.model_dump_json())
        return
    before = " before, under the same request id" if receipt.replayed else ""
    print(
        f"Charged {format_credits(receipt.credits_used)} credits to {_whose(receipt)}{before}; "
        f"{format_credits(receipt.remaining_credits)} are left. Charge {receipt.charge_id}."
    )


def place(
    user_id: User,
    credits: Credits,
    *,
    service_type: Service = "manual",
    service_name: ServiceName = None,
    org: Org = None,
    own: Own = False,
    ttl: TimeToLive = 900,
    request_id: RequestId = None,
    metadata: Metadata = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Set credits of a user aside."""
    kept = _object(metadata)
    with _service(url) as billing:
        hold = billing.hold(
            _payer(billing, user_id, org, own=own),
            credits,
            service_type=service_type,
            service_name=service_name,
            request_id=request_id,
            metadata=kept,
            ttl_seconds=ttl,
        )
    _show_hold(hold, as_json=as_json)


def show(hold_id: HoldId, url: Url = None, as_json: AsJson = False) -> None:
    """Look at a hold."""
    with _service(url) as billing:
        _show_hold(billing.get_hold(hold_id), as_json=as_json)


def capture(
    hold_id: HoldId,
    credits: Annotated[
        str | None, typer.Option("--credits", help="Less, or more if the balance allows; else all of it.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Charge a hold."""
    with _service(url) as billing:
        receipt = billing.capture(hold_id, credits)
    if as_json:
        print(receipt.model_dump_json())
        return
    print(
        f"Charged {format_credits(receipt.credits_used)} credits to {_whose(receipt)}; "
        f"{format_credits(receipt.remaining_credits)} are left. Charge {receipt.charge_id}."
    )


def void(hold_id: HoldId, url: Url = None, as_json: AsJson = False) -> None:
    """Give a hold back."""
    with _service(url) as billing:
        _show_hold(billing.void(hold_id), as_json=as_json)


def refund(
    charge_id: Annotated[str, typer.Argument(help="The charge: its id, as `credits charge` printed it.")],
    *,
    credits: Annotated[str | None, typer.Option("--credits", help="A part of it; else what is left.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; it is kept.", show_default=False)] = None,
    request_id: RequestId = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Give a charge back, whole or in part."""
    with _service(url) as billing:
        receipt = billing.refund(_charge(charge_id), credits, reason=reason, request_id=request_id)
    if as_json:
        print(receipt.model_dump_json())
        return
    print(
        f"Gave {format_credits(receipt.credits_refunded)} credits back to {_whose(receipt)}; "
        f"{format_credits(receipt.refundable_credits)} of the charge are left to refund."
    )


def _service(url: str | None) -> "CreditDeductionService":
    from credit_sdk.service import CreditDeductionService  # noqa: PLC0415 - `--help` needs no books

    # A person reads the outcome: what cannot be confirmed is said, not kept for later.
    return CreditDeductionService(url, outbox=False)


def _payer(billing: "CreditDeductionService", user_id: str, org: str | None, *, own: bool) -> "Account":
    from credit_sdk.account import parse_account  # noqa: PLC0415

    if own and org is not None:
        raise typer.BadParameter("an organisation pays, or the user: not both.", param_hint="--own")
    if own:
        return parse_account(user_id)
    return billing.account(user_id) if org is None else parse_account(user_id, org)


def _charge(charge_id: str) -> UUID | int | str:
    """Return the id as what it names: a number is a charge of a user's own balance."""
    if charge_id.isdecimal():
        return int(charge_id)
    try:
        return UUID(charge_id)
    except ValueError:
        raise typer.BadParameter("a charge's id is a UUID, or a number.", param_hint="CHARGE_ID") from None


def _object(metadata: str | None) -> dict[str, Any] | None:
    try:
        kept = None if metadata is None else json.loads(metadata)
    except ValueError as error:
        raise typer.BadParameter(f"this is not JSON: {error}.", param_hint="--metadata") from None
    if not isinstance(kept, dict | None):
        raise typer.BadParameter('give a JSON object, such as {"job": 7}.', param_hint="--metadata")
    return kept


def _whose(result: Any) -> str:
    return f"{result.user_id} in {result.org_id}" if result.org_id else f"{result.user_id}"


def _show_hold(hold: "Hold", *, as_json: bool) -> None:
    if as_json:
        print(hold.model_dump_json())
        return
    print(
        f"Hold {hold.hold_id}: {format_credits(hold.credits)} credits of {_whose(hold)}, {hold.status}, "
        f"until {hold.expires_at:%Y-%m-%d %H:%M:%S} UTC"
    )
