"""In each web framework the same three addresses: free, billed, and billed and failing."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Annotated, Any

import django
import flask
import httpx
import pytest
from django.conf import settings as django_settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.test.utils import override_settings
from django.urls import path
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from credit_sdk import Account, ConfigurationError
from credit_sdk.context import acting_account
from credit_sdk.integrations import flask as flask_integration
from credit_sdk.integrations.asgi import AccountMiddleware
from credit_sdk.integrations.fastapi import account_of, answer_refusals
from tests.integrations.conftest import STALE, Shop

Answer = tuple[int, str, str]
Get = Callable[[str, Mapping[str, str]], Answer]


def operations(shop: Shop) -> tuple[Callable[[], str], Callable[[], str]]:
    """Return a billed operation, and one that fails."""

    @shop.billing.billable("report", cost=30)
    def report() -> str:
        return "a report"

    @shop.billing.billable("report", cost=30)
    def broken() -> str:
        raise LookupError

    return report, broken


def over_asgi(app: Any) -> Get:
    def get(address: str, headers: Mapping[str, str]) -> Answer:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client:
                return await client.get(address, headers=headers)

        answer = asyncio.run(ask())
        return answer.status_code, answer.headers.get("content-type", ""), answer.text

    return get


def over_wsgi(app: Any) -> Get:
    def get(address: str, headers: Mapping[str, str]) -> Answer:
        transport = httpx.WSGITransport(app, raise_app_exceptions=False)
        with httpx.Client(transport=transport, base_url="http://shop.example") as client:
            answer = client.get(address, headers=dict(headers))
        return answer.status_code, answer.headers.get("content-type", ""), answer.text

    return get


@contextmanager
def in_starlette(shop: Shop) -> Iterator[Get]:
    report, broken = operations(shop)

    def answering(function: Callable[[], str]) -> Callable[[Request], PlainTextResponse]:
        return lambda _: PlainTextResponse(function())

    routes = [
        Route("/free", answering(lambda: "welcome")),
        Route("/report", answering(report)),
        Route("/broken", answering(broken)),
    ]
    middleware = [Middleware(AccountMiddleware, shop.billing, cache_seconds=0)]
    yield over_asgi(Starlette(routes=routes, middleware=middleware))


@contextmanager
def in_fastapi(shop: Shop) -> Iterator[Get]:
    app = FastAPI()
    answer_refusals(app)
    payer = Depends(account_of(shop.awaiting, cache_seconds=0))

    @shop.awaiting.billable("report", cost=30)
    async def deliver(*, fails: bool, account: Account) -> str:
        if fails:
            raise LookupError
        return "a report"

    @app.get("/free")
    async def free() -> str:
        return "welcome"

    @app.get("/report")
    async def report(account: Annotated[Account, payer]) -> str:
        return await deliver(fails=False, account=account)

    @app.get("/broken")
    async def broken(account: Annotated[Account, payer]) -> str:
        return await deliver(fails=True, account=account)

    yield over_asgi(app)


@contextmanager
def in_flask(shop: Shop) -> Iterator[Get]:
    app = flask.Flask("shop")
    flask_integration.init_app(app, shop.billing, cache_seconds=0)
    report, broken = operations(shop)
    app.add_url_rule("/free", "free", lambda: "welcome")
    app.add_url_rule("/report", "report", report)
    app.add_url_rule("/broken", "broken", broken)
    yield over_wsgi(app)


@contextmanager
def _django(shop: Shop, *, asynchronous: bool) -> Iterator[Any]:
    if not django_settings.configured:
        django_settings.configure(SECRET_KEY="not one", ALLOWED_HOSTS=["*"])
        django.setup()
    report, broken = operations(shop)

    def answering(function: Callable[[], str]) -> Any:
        if not asynchronous:
            return lambda _: HttpResponse(function())

        async def view(_: HttpRequest) -> HttpResponse:
            return HttpResponse(function())

        return view

    urls = ModuleType("shop_urls")
    urls.urlpatterns = [  # type: ignore[attr-defined]
        path("free", answering(lambda: "welcome")),
        path("report", answering(report)),
        path("broken", answering(broken)),
    ]
    sys.modules["shop_urls"] = urls
    middleware = ["credit_sdk.integrations.django.account_middleware"]
    with override_settings(
        ROOT_URLCONF="shop_urls", MIDDLEWARE=middleware, CREDITS_BILLING=shop.billing, CREDITS_CACHE_SECONDS=0
    ):
        yield ASGIHandler() if asynchronous else WSGIHandler()


@contextmanager
def in_django(shop: Shop) -> Iterator[Get]:
    with _django(shop, asynchronous=False) as app:
        yield over_wsgi(app)


@contextmanager
def in_asynchronous_django(shop: Shop) -> Iterator[Get]:
    with _django(shop, asynchronous=True) as app:
        yield over_asgi(app)


FRAMEWORKS = {
    "starlette": in_starlette,
    "fastapi": in_fastapi,
    "flask": in_flask,
    "django": in_django,
    "django-async": in_asynchronous_django,
}


@pytest.fixture(params=FRAMEWORKS)
def get(request: pytest.FixtureRequest, shop: Shop) -> Iterator[Get]:
    """Asks the shop, built with each framework."""
    with FRAMEWORKS[request.param](shop) as ask:
        yield ask
    assert acting_account() is None


def test_the_session_of_the_request_pays(get: Get, shop: Shop) -> None:
    for headers in (shop.cookie, shop.bearer):
        status, _, text = get("/report", headers)
        assert (status, "a report" in text) == (200, True)
    shop.fake.assert_charged(30, account=shop.ada, times=2)


def test_what_fails_costs_nothing(get: Get, shop: Shop) -> None:
    assert get("/broken", shop.cookie)[0] == 500
    shop.fake.assert_not_charged()
    shop.fake.assert_no_open_holds()


def test_free_pages_need_no_session_and_bear_a_stale_one(get: Get, shop: Shop) -> None:
    for headers in ({}, STALE, {"Cookie": "session_token="}, {"Cookie": "\x7f;;=="}, shop.cookie):
        assert get("/free", headers)[0] == 200
    shop.fake.assert_not_charged()


def test_a_stale_session_is_refused_where_it_costs(get: Get, shop: Shop) -> None:
    status, kind, text = get("/report", STALE)
    assert (status, kind) == (401, "application/problem+json")
    assert json.loads(text)["code"] in {"invalid_token", "not_authenticated"}
    shop.fake.assert_not_charged()


def test_too_few_credits_are_explained(get: Get, shop: Shop) -> None:
    for _ in range(3):
        get("/report", shop.cookie)
    status, kind, text = get("/report", shop.cookie)
    problem = json.loads(text)
    assert (status, kind, problem["code"]) == (402, "application/problem+json", "insufficient_credits")
    assert (problem["required"], problem["available"]) == ("30", "10")


def test_a_request_does_not_pay_for_the_next_one(get: Get, shop: Shop) -> None:
    get("/report", shop.cookie)
    assert get("/report", {})[0] in {401, 500}  # nobody is named; only FastAPI's dependency asks for a login
    shop.fake.assert_charged(30, times=1)


def test_an_account_is_looked_up_once_for_several_requests(shop: Shop) -> None:
    app = flask.Flask("shop")
    flask_integration.init_app(app, shop.billing, cache_seconds=60)
    report, _ = operations(shop)
    app.add_url_rule("/report", "report", report)
    get = over_wsgi(app)
    get("/report", shop.cookie)
    shop.fake.ledger.sessions.clear()
    assert get("/report", shop.cookie)[0] == 200


def test_django_says_which_setting_is_missing(shop: Shop) -> None:
    with (
        _django(shop, asynchronous=False),
        override_settings(CREDITS_BILLING=None),
        pytest.raises(ConfigurationError, match="CREDITS_BILLING is missing"),
    ):
        WSGIHandler()
