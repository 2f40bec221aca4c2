"""From templates to pages. What is put into a template is escaped there."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from credit_sdk.amounts import format_credits
from credit_sdk.identifiers import new_request_id
from reference_server.dashboard.charts import burn_down, days_of

BASE_PATH = "/dashboard"
_STATIC: Mapping[str, str] = {
    "style.css": "text/css",
    "live.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}


class Pages:
    """Renders the pages. `log_in_elsewhere` is where people log in who have no password here."""

    def __init__(self, log_in_elsewhere: str | None) -> None:
        self._log_in_elsewhere = log_in_elsewhere
        self._templates = Environment(
            loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        self._templates.filters.update(
            credits=format_credits, usd=_usd, moment=_moment, day=_day, days=_days, segment=segment
        )
        self._templates.globals.update(
            base=BASE_PATH,
            static=_address,
            burn_down=burn_down,
            days_of=days_of,
            new_request_id=new_request_id,
        )

    def page(
        self, template: str, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
    ) -> Response:
        """Return a page; `headers` go along."""
        text = self._templates.get_template(template).render(
            {"log_in_elsewhere": self._log_in_elsewhere, "visit": None, "watch": None, **values}
        )
        return HTMLResponse(text, status, {**(headers or {}), **self._policies()})

    def _policies(self) -> Mapping[str, str]:
        # Logging out of a provider leads from a form to the provider's own site.
        forms = "" if self._log_in_elsewhere else "; form-action 'self'"
        return {
            "Content-Security-Policy": f"default-src 'self'; frame-ancestors 'none'; base-uri 'none'{forms}",
            # Without a referrer, browsers would not say either which site a form was sent from.
            "Referrer-Policy": "same-origin",
        }


def static_routes() -> list[BaseRoute]:
    """Return the addresses of what pages load: it never changes under one address."""
    return [Route(f"{BASE_PATH}/static/{{name}}", _static)]


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        return Response(status_code=404)
    return Response(_content(name), media_type=_STATIC[name], headers=_FOREVER)


@cache
def _content(name: str) -> bytes:
    return (files(__package__) / "static" / name).read_bytes()


@cache
def _address(name: str) -> str:
    return f"{BASE_PATH}/static/{name}?v={sha256(_content(name)).hexdigest()[:12]}"


def _usd(amount: Decimal) -> str:
    return f"{amount:,.2f} USD"


def _moment(moment: datetime) -> Markup:
    """Return a time (UTC) for people and for programs."""
    return Markup('<time datetime="{}">{:%Y-%m-%d %H:%M}</time>').format(moment.isoformat(), moment)


def _day(day: date) -> Markup:
    return Markup('<time datetime="{:%Y-%m-%d}">{:%Y-%m-%d}</time>').format(day, day)


def _days(days: Decimal) -> str:
    """Return how many days, to a tenth where they are not whole."""
    shown = f"{days:.1f}".removesuffix(".0")
    return f"{shown} day" if shown == "1" else f"{shown} days"


def segment(text: str) -> str:
    """Return a text as one segment of a path."""
    return quote(text, safe="")
