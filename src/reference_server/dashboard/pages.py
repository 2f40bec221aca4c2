"""The dashboard's HTML. Everything that is put into it is escaped here."""

from decimal import Decimal
from html import escape

from credit_sdk.amounts import to_number
from credit_sdk.models import OrganizationCredits, UserBilling

_HEADINGS = ("Allocated", "Used", "Held", "Remaining")


def user_page(billing: UserBilling) -> str:
    """Return the screen of a user: their credits in each of their organisations, in credits."""
    used = _amount(billing.total_usage_last_30_days)
    return _page(
        "Your credits",
        f"<p>{escape(billing.user_email or billing.user_id)}</p>\n"
        f"<p>Used in the last 30 days: <strong>{used}</strong> credits</p>\n"
        f"{_organizations(billing.organizations)}",
    )


def refusal_page(sentence: str, log_in: str | None) -> str:
    """Return the page that says why there is nothing to see, and where to log in."""
    way_in = f'\n<p><a href="{escape(log_in)}">Log in</a></p>' if log_in else ""
    return _page("Not available", f"<p>{escape(sentence)}</p>{way_in}")


def _page(title: str, content: str) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="/dashboard/style.css"></head>\n'
        '<body><a class="skip" href="#content">Skip to the content</a>\n'
        f'<main id="content"><h1>{escape(title)}</h1>\n{content}\n</main></body></html>\n'
    )


def _organizations(standings: tuple[OrganizationCredits, ...]) -> str:
    if not standings:
        return "<p>You are in no organisation.</p>"
    headings = "".join(f'<th scope="col" class="amount">{heading}</th>' for heading in _HEADINGS)
    return (
        '<div class="sideways" tabindex="0" role="region" aria-label="Organisations"><table>'
        "<caption>Your organisations</caption>\n"
        f'<thead><tr><th scope="col">Organisation</th><th scope="col">Role</th>{headings}</tr></thead>\n'
        f"<tbody>{''.join(map(_row, standings))}</tbody></table></div>"
    )


def _row(standing: OrganizationCredits) -> str:
    name = f'<tr><th scope="row">{escape(standing.org_name)}</th><td>{escape(standing.role)}</td>'
    if not standing.has_allocation:
        return f'{name}<td colspan="{len(_HEADINGS)}">No allocation</td></tr>'
    amounts = (
        standing.allocated_credits,
        standing.used_credits,
        standing.held_credits,
        standing.remaining_credits,
    )
    return name + "".join(f'<td class="amount">{_amount(amount)}</td>' for amount in amounts) + "</tr>"


def _amount(credits: Decimal) -> str:
    return f"{to_number(credits):,}"
