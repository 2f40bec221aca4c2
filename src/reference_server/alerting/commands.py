"""The commands of whoever operates: a round of alerts by hand, and what the platform itself is told of."""

import asyncio
import json
from dataclasses import asdict
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from credit_sdk.amounts import format_credits, parse_credits, to_millicredits
from credit_sdk.errors import NotFoundError, ValidationFailedError
from credit_sdk.operations.alerting import WebhookUrl
from reference_server.command_database import DatabaseUrl, one_line_errors, rows_of, url_of

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

_OPEN_ENDPOINT = """
    SELECT made.id, made.secret
    FROM alerts.open_endpoint(NULL, %s, '["balance.low", "top_up.failed"]', ledger.new_request_id()) AS made
"""
_LIST = "SELECT id, url, created_at FROM webhook_endpoints WHERE org_id IS NULL ORDER BY created_at, id"
_DELETE = """
    SELECT endpoint.id FROM webhook_endpoints AS endpoint
    WHERE endpoint.id::text = %s AND alerts.close_endpoint(NULL, endpoint.id)
"""
_WATCH = """
    INSERT INTO alert_rules (kind, subject, threshold) VALUES ('balance.low', %s, %s)
    ON CONFLICT (coalesce(org_id, ''), kind, subject) DO UPDATE
    SET threshold = excluded.threshold, updated_at = ledger.now()
    RETURNING id
"""
_LEAVE = "DELETE FROM alert_rules WHERE org_id IS NULL AND subject = %s RETURNING id"
_NAME = """
    SELECT ledger.user_name(person) FROM users AS person
    WHERE %s IN (person.subject, person.id::text) AND person.user_type = 'customer'
"""
_DEAD = """
    SELECT delivery.id, delivery.org_id, endpoint.url, delivery.event, delivery.attempts, delivery.last_error
    FROM webhook_deliveries AS delivery
    INNER JOIN webhook_endpoints AS endpoint ON endpoint.id = delivery.endpoint_id
    WHERE delivery.status = 'dead'
    ORDER BY delivery.created_at
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    alerts = typer.Typer(help="Alerts and their webhooks, on the database.", no_args_is_help=True)
    alerts.command("run")(run)
    alerts.command("dead")(list_dead)
    alerts.command("add-endpoint")(add_endpoint)
    alerts.command("endpoints")(list_endpoints)
    alerts.command("delete-endpoint")(delete_endpoint)
    alerts.command("watch-balances")(watch_balances)
    app.add_typer(alerts, name="alerts")


def run(database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Look at all that is watched, and send what is due.

    The server does the same in the background. Safe to run twice and beside it.
    """
    url = url_of(database_url)
    with one_line_errors(url):
        done = asyncio.run(_round(url))
    if as_json:
        typer.echo(json.dumps(done))
        return
    typer.echo(f"Raised {done['raised']}, cleared {done['cleared']}, delivered {done['delivered']}.")


async def _round(url: str) -> dict[str, int]:
    from credit_sdk.backends.sql import AsyncSqlBackend  # noqa: PLC0415 - the command line needs no extra
    from reference_server.alerting.rounds import run_round  # noqa: PLC0415
    from reference_server.settings import Settings  # noqa: PLC0415

    backend = AsyncSqlBackend(url, pool_size=1)
    try:
        return asdict(await run_round(backend, Settings.of(database_url=url)))
    finally:
        await backend.close()


def list_dead(database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Show the webhooks that were given up, of all organisations; their administrators can redeliver them."""
    rows = rows_of(database_url, _DEAD)
    if as_json:
        typer.echo(json.dumps(rows, default=str))
        return
    for row in rows:
        owner = row["org_id"] or "the platform"
        typer.echo(f"{row['id']} {row['event']} of {owner} to {row['url']}: {row['last_error']}")
    if not rows:
        typer.echo("No webhook was given up.")


def add_endpoint(
    url: Annotated[str, typer.Argument(help="An https:// address.")], database_url: DatabaseUrl = None
) -> None:
    """Have alerts about users' own balances sent to an address, and print the secret, once."""
    try:
        TypeAdapter[str](WebhookUrl).validate_python(url)
    except ValidationError:
        raise ValidationFailedError("URL: must be an https:// address.", errors=[]) from None
    asyncio.run(_require_sendable(url, database_url))
    [row] = rows_of(database_url, _OPEN_ENDPOINT, url)
    typer.echo(f"id {row['id']}", err=True)
    typer.echo(row["secret"])


async def _require_sendable(url: str, database_url: str | None) -> None:
    from reference_server.alerting.checking import require_sendable  # noqa: PLC0415 - likewise
    from reference_server.settings import Settings  # noqa: PLC0415

    settings = Settings.of(database_url=url_of(database_url))
    await require_sendable(url, settings.webhook_networks)


def list_endpoints(database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Show where alerts about users' own balances are sent."""
    rows = rows_of(database_url, _LIST)
    if as_json:
        typer.echo(json.dumps(rows, default=str))
        return
    for row in rows:
        typer.echo(f"{row['id']} {row['url']}")


def delete_endpoint(
    endpoint_id: Annotated[str, typer.Argument(help="Its id.")], database_url: DatabaseUrl = None
) -> None:
    """Send no more alerts about users' own balances to an address."""
    if not rows_of(database_url, _DELETE, endpoint_id):
        raise NotFoundError(f"The platform has no endpoint {endpoint_id}.")
    typer.echo(f"Deleted {endpoint_id}.")


def watch_balances(
    threshold: Annotated[str, typer.Argument(help="Credits; 0 watches no more.")],
    user: Annotated[str | None, typer.Option(help="Only this user, in place of the figure for all.")] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Watch users' own balances: an alert is raised once whenever one falls below."""
    subject = "" if user is None else _name_of(user, database_url)
    if threshold == "0":
        rows_of(database_url, _LEAVE, subject)
        typer.echo("Watched no more.")
        return
    amount = parse_credits(threshold, argument="threshold")
    rows_of(database_url, _WATCH, subject, to_millicredits(amount))
    typer.echo(f"Watching for less than {format_credits(amount)} credits.")


def _name_of(user: str, database_url: str | None) -> str:
    found = rows_of(database_url, _NAME, user)
    if not found:
        raise NotFoundError(f"There is no user {user} with a balance of their own.")
    name: str = found[0]["user_name"]
    return name
