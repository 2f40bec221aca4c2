"""The server, assembled."""

import gc
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from http import HTTPStatus

from sqlalchemy import URL, make_url
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from credit_sdk.backends.sql import AsyncSqlBackend
from credit_sdk.errors import CreditError
from credit_sdk.wire import BASE_PATH as LEDGER_PATH
from credit_sdk.wire import CROSS_APP_PATH, FINANCIAL_PATH
from reference_server.access import Ledger
from reference_server.alerting.checking import CheckedEndpoints
from reference_server.alerting.rounds import alerting
from reference_server.api import Api
from reference_server.auth import Authenticator
from reference_server.below import Ahead, Below
from reference_server.cells.naming import HOME, parse_cells
from reference_server.cells.routing import CellLedger, Directory
from reference_server.counting import Counter
from reference_server.crossapp.api import CrossAppApi
from reference_server.crossapp.people import People
from reference_server.dashboard.screens import Screens
from reference_server.encoding import problem_response
from reference_server.gathering import GatheringLedger
from reference_server.health import Readiness, healthz
from reference_server.limits import Limiter, counter_of
from reference_server.llm.catalogue import Catalogue
from reference_server.llm.gateway import BASE_PATH as GATEWAY_PATH
from reference_server.llm.gateway import Gateway
from reference_server.llm.keys import ProviderKeys
from reference_server.llm.payers import Payers
from reference_server.llm.upstreams import Upstreams
from reference_server.logs import configure_logs
from reference_server.measuring import Figures, MeasuredLedger
from reference_server.middleware import Envelope, Gate, Traffic
from reference_server.observing import Observed
from reference_server.oidc.access import ProviderTokens
from reference_server.oidc.provider import Provider
from reference_server.oidc.routes import LogIns
from reference_server.origins import CrossOrigin
from reference_server.payments.applications import ApplicationPayments
from reference_server.payments.books import Books
from reference_server.payments.checkouts import Seller
from reference_server.payments.routes import Payments
from reference_server.payments.stripe_api import StripeApi
from reference_server.payments.top_ups import TopUps, topping_up
from reference_server.payments.webhook import Webhook
from reference_server.problems import InternalError, NoSuchAddressError, WrongMethodError
from reference_server.reference import docs, openapi_json
from reference_server.refusals import ExplainingLedger
from reference_server.settings import Settings
from reference_server.sweeping import sweeping

_ALLOCATIONS_BETWEEN_COLLECTIONS = 50_000
"""More objects than some hundred requests need, which are no garbage, and not to be looked through."""

logger = logging.getLogger(__name__)


def create_app(settings: Settings) -> Starlette:
    """Return the server's application. It starts, and says what is missing, without a database too."""
    backend = AsyncSqlBackend(_acting_as(settings.database_role, settings.database_url))
    cells = {HOME: backend} | {
        name: AsyncSqlBackend(_acting_as(settings.database_role, cell.url))
        for name, cell in parse_cells(settings.cells).items()
    }
    gathering = {
        name: GatheringLedger(cell, most_together=settings.batch_size) for name, cell in cells.items()
    }
    people = _people(settings, backend)
    key = settings.stripe_secret_key
    stripe = StripeApi(key, settings.stripe_api_base) if key else None
    counter = counter_of(settings)
    upstreams = Upstreams(settings)
    traffic = Traffic()
    figures = Figures()
    api = Api(
        settings,
        _ledger(settings, backend, figures, gathering),
        Authenticator(backend, settings.key_cache_seconds, people),
        Limiter(settings, counter),
    )
    app = Starlette(
        routes=_routes(api, backend, people, figures, stripe=stripe, upstreams=upstreams),
        middleware=[
            Middleware(Observed, figures),
            Middleware(Envelope),
            Middleware(CrossOrigin, settings.cors_origins),
            Middleware(Gate, traffic),
            Middleware(Ahead, (LEDGER_PATH, FINANCIAL_PATH), api),
        ],
        exception_handlers={HTTPException: _refuse, CreditError: _explain},
        lifespan=_lifespan(
            settings, cells, people, counter, gathering=gathering, stripe=stripe, upstreams=upstreams
        ),
    )
    app.router.redirect_slashes = False
    app.state.traffic = traffic
    return app


def app_from_environment() -> Starlette:
    """Return the application of a worker process, set up by its environment."""
    settings = Settings.of()
    configure_logs(settings.log_format, requests=settings.log_requests)
    app = create_app(settings)
    spare_what_stays()
    _end_with_the_supervisor()
    return app


def _end_with_the_supervisor() -> None:
    """Have this worker end when the process that started it is gone: nobody else would ever stop it."""
    supervisor = multiprocessing.parent_process()
    if supervisor is None:
        return

    def wait() -> None:
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="supervisor", daemon=True).start()


def spare_what_stays() -> None:
    """Have the garbage collector pass over all that this process has loaded, which lives as long as it does.

    Under load it looked through these half a million objects again and again: a quarter of the processor's
    time, in pauses of a tenth of a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS_BETWEEN_COLLECTIONS)


def _acting_as(role: str, database_url: str) -> URL:
    """Return the URL with a session that starts in the role: the owner's rights are left behind."""
    url = make_url(database_url)
    if not role:
        return url
    options = " ".join([*filter(None, [str(url.query.get("options", ""))]), f"-c role={role}"])
    return url.update_query_dict({"options": options})


def _people(settings: Settings, backend: AsyncSqlBackend) -> ProviderTokens | None:
    if settings.oidc_issuer is None:
        return None
    provider = Provider(settings.oidc_issuer, settings, f"{settings.base_url}/auth/callback")
    return ProviderTokens(provider, backend, settings.oidc_system_admin_role)


def _ledger(
    settings: Settings, backend: AsyncSqlBackend, figures: Figures, gathering: dict[str, GatheringLedger]
) -> Ledger:
    ledger: Ledger = gathering[HOME]
    if len(gathering) > 1:
        ledger = CellLedger(gathering, Directory(backend, settings.cells_cache_seconds))
    ledger = CheckedEndpoints(MeasuredLedger(ledger, figures), settings.webhook_networks)
    return ExplainingLedger(ledger, settings.top_up_url) if settings.top_up_url else ledger


def _routes(
    api: Api,
    backend: AsyncSqlBackend,
    people: ProviderTokens | None,
    figures: Figures,
    *,
    stripe: StripeApi | None,
    upstreams: Upstreams,
) -> list[BaseRoute]:
    settings, ledger, limiter = api.settings, api.ledger, api.limiter
    books = Books(backend)
    seller = Seller(books, stripe)
    applications = CrossAppApi(settings, People(backend), ledger, ApplicationPayments(seller), limiter)
    gateway = Gateway(
        api,
        Catalogue(backend, settings.llm_catalogue_seconds, upstreams.serves),
        upstreams,
        ProviderKeys(backend, settings.sealing_keys()),
        Payers(ledger, settings.llm_catalogue_seconds),
    )
    return [
        Route("/healthz", healthz),
        Route("/readyz", Readiness(backend).readyz),
        Route("/metrics", figures.metrics),
        Route("/openapi.json", openapi_json),
        Route("/docs", docs),
        *LogIns(settings, backend, limiter, people).routes(),
        Below(CROSS_APP_PATH, applications),
        *Payments(api, applications, seller, Webhook(books, settings.stripe_webhook_secret)).routes(),
        Below(GATEWAY_PATH, gateway),
        *Screens(settings, backend, ledger, api.authenticator, limiter).routes(),
        Below("/api", api),
    ]


def _lifespan(
    settings: Settings,
    cells: dict[str, AsyncSqlBackend],
    people: ProviderTokens | None,
    counter: Counter,
    *,
    gathering: dict[str, GatheringLedger],
    stripe: StripeApi | None,
    upstreams: Upstreams,
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            async with AsyncExitStack() as background:
                for backend in cells.values():
                    await background.enter_async_context(sweeping(backend, settings.sweep_seconds))
                    await background.enter_async_context(alerting(backend, settings))
                if stripe:
                    top_ups = TopUps(Books(cells[HOME]), stripe)
                    await background.enter_async_context(topping_up(top_ups, settings.alert_seconds))
                yield
        finally:
            for each in gathering.values():
                await each.drain()
            if people:
                await people.provider.close()
            if stripe:
                await stripe.close()
            await upstreams.close()
            await counter.close()
            for backend in cells.values():
                await backend.close()

    return lifespan


async def _refuse(request: Request, error: Exception) -> Response:
    """Answer for addresses outside of /api, which Starlette looks up."""
    headers = error.headers if isinstance(error, HTTPException) and error.headers else {}
    allowed = headers.get("Allow")
    problem = (
        WrongMethodError(tuple(sorted(allowed.split(", "))))
        if allowed
        else NoSuchAddressError(request.scope["raw_path"])
    )
    return problem_response(problem, request.state.request_id)


async def _explain(request: Request, error: Exception) -> Response:
    """Answer for what handlers outside of /api raise."""
    known = error if isinstance(error, CreditError) else InternalError()
    if known.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.warning("request %s: %s", request.state.request_id, known)
    return problem_response(known, request.state.request_id)
