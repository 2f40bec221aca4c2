"""Everything under /api/v1/llm: OpenAI's protocol, paid in credits.

Authenticate, limit, read, find out who pays, hold, call the provider, capture what it reports, answer.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import unquote

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from credit_sdk.amounts import to_number
from credit_sdk.errors import CreditError
from credit_sdk.model_prices import TokenUsage, reported_usage
from credit_sdk.token_counting import size_of_text, tokens_of
from credit_sdk.wire import IDEMPOTENCY_HEADER
from reference_server.api import Api
from reference_server.bodies import read_body, require_json
from reference_server.callers import Caller
from reference_server.llm.catalogue import Catalogue
from reference_server.llm.key_routes import Handler, KeyRoutes
from reference_server.llm.keys import ProviderKeys
from reference_server.llm.meter import Bill, Meter
from reference_server.llm.payers import ORGANIZATION_HEADER, Payers, payer_of, terms_of
from reference_server.llm.prices import Model, Tariff
from reference_server.llm.problems import ClientGoneError, UpstreamError, error_response
from reference_server.llm.requests import LARGE_BODY, SERVICES, Asked, Service, read
from reference_server.llm.streaming import MeteredStream, bill_headers, until_gone
from reference_server.llm.upstreams import Upstreams
from reference_server.observing import name_route
from reference_server.problems import NoSuchAddressError, WrongMethodError

logger = logging.getLogger(__name__)

BASE_PATH = "/api/v1/llm"
LARGEST_BODY = 16 * 1024 * 1024
POWER_HEADER = "X-Power-Level"

AnswerT = TypeVar("AnswerT")
_FREE = Bill(cost=Decimal(0), remaining=None)


@dataclass(frozen=True, slots=True)
class Gateway:
    """The application under /api/v1/llm."""

    api: Api
    catalogue: Catalogue
    upstreams: Upstreams
    keys: ProviderKeys
    payers: Payers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers: dict[str, str] = {}
        response: ASGIApp
        try:
            response = await self._answer(Request(scope, receive), headers)
        except CreditError as error:
            if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                logger.warning("request %s: %s", scope["state"]["request_id"], error)
            response = error_response(error, headers)
        await response(scope, receive, send)

    async def _answer(self, request: Request, headers: dict[str, str]) -> ASGIApp:
        """Return the answer; `headers` gets what even an error's answer has to carry."""
        path: str = request.scope["raw_path"].decode("latin-1").removeprefix(BASE_PATH)
        handlers = self._handlers(request.scope, path, headers)
        if handlers and request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": ", ".join(sorted({*handlers, "OPTIONS"}))})
        caller = await self.api.authenticate(request)
        calls = path in SERVICES
        headers.update(await self.api.limiter.spend(caller, request.method, charging=calls))
        if not handlers:
            raise NoSuchAddressError(request.scope["raw_path"])
        handler = handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            raise WrongMethodError(tuple(sorted({*handlers, "OPTIONS"})))
        return await handler(request, caller)

    def _handlers(self, scope: Scope, path: str, headers: dict[str, str]) -> dict[str, Handler]:
        """Return what answers at a path, by method."""
        service = SERVICES.get(path)
        if service is not None:
            name_route(scope, BASE_PATH + path)
            return {"POST": lambda request, caller: self._call(service, request, caller, headers)}
        if path == "/models":
            name_route(scope, BASE_PATH + path)
            return {"GET": lambda _request, _caller: self._models(headers)}
        if path.startswith("/models/"):
            name_route(scope, BASE_PATH + "/models/{model}")
            name = unquote(path.removeprefix("/models/"))
            return {"GET": lambda _request, _caller: self._model(name, headers)}
        if path.startswith("/organizations/"):
            name_route(scope, BASE_PATH + "/organizations/{org_id}/keys")
        return KeyRoutes(self.api, self.keys, self.upstreams).handlers(path, headers)

    async def _models(self, headers: dict[str, str]) -> Response:
        models = await self.catalogue.models()
        data = [_shown(model) for model in models.values()]
        return JSONResponse({"object": "list", "data": data}, headers=bill_headers(_FREE) | headers)

    async def _model(self, name: str, headers: dict[str, str]) -> Response:
        models = await self.catalogue.models()
        model = models.get(name) or await self.catalogue.find(name, "chat")
        return JSONResponse(_shown(model), headers=bill_headers(_FREE) | headers)

    async def _call(
        self, service: Service, request: Request, caller: Caller, headers: dict[str, str]
    ) -> ASGIApp:
        asked = await self._read(service, request)
        model = await self.catalogue.find(asked.model, service.kind, asked.power_level)
        estimate = asked.estimate(model)
        payer = await payer_of(
            caller, request.headers.get(ORGANIZATION_HEADER), asked.body.get("user"), self.payers
        )
        terms = await terms_of(payer, model.provider, self.keys)
        tariff = Tariff(model, terms.markup)
        metadata = {
            "provider": model.provider,
            "model": model.name,
            "power_level": asked.power_level or model.power_level or "balanced",
            "task_type": asked.task_type,
            "plan": payer.plan,
            "markup": to_number(terms.markup),
        }
        meter = Meter(self.api.ledger, payer, tariff, service.service_type, metadata)
        await meter.open(tariff.credits(estimate), request.headers.get(IDEMPOTENCY_HEADER))
        if asked.stream:
            return MeteredStream(self.upstreams, meter, asked, terms.own_key, asked.prompt_tokens, headers)
        return await self._ask(request, meter, asked, terms.own_key, headers)

    async def _read(self, service: Service, request: Request) -> Asked:
        require_json(request)
        body = await read_body(request, largest=LARGEST_BODY, seconds=self.api.settings.body_seconds)
        level = request.headers.get(POWER_HEADER)
        if len(body) > LARGE_BODY:
            return await anyio.to_thread.run_sync(read, service, body, level)
        return read(service, body, level)

    async def _ask(
        self, request: Request, meter: Meter, asked: Asked, own_key: str | None, headers: dict[str, str]
    ) -> Response:
        model, path = meter.tariff.model, asked.service.path
        body = asked.for_upstream(model)
        try:
            answer = await _unless_gone(
                request.receive, lambda: self.upstreams.ask(model.provider, path, body, own_key)
            )
            usage = _used(asked, answer.document)
        except BaseException:
            with anyio.CancelScope(shield=True):
                headers.update(bill_headers(await meter.release()))
            raise
        bill = await meter.charge(usage)
        # Not written anew: what JSON cannot say again (a NaN, half a surrogate pair) has been paid for.
        return Response(answer.body, headers=headers | bill_headers(bill), media_type="application/json")


def _used(asked: Asked, answer: dict[str, Any]) -> TokenUsage:
    """Return what a whole answer has used: as the provider says, else counted."""
    if asked.service.kind == "image":
        return TokenUsage(images=len(_list_in(answer, "data")))
    usage = reported_usage(answer.get("usage"))
    if asked.service.kind == "embedding":
        _list_in(answer, "data")
        return usage or TokenUsage(asked.prompt_tokens)
    choices = _list_in(answer, "choices")
    size = sum(size_of_text(choice.get("message")) for choice in choices if isinstance(choice, dict))
    return usage or TokenUsage(asked.prompt_tokens, tokens_of(size))


def _list_in(answer: dict[str, Any], name: str) -> list[Any]:
    found = answer.get(name)
    if not isinstance(found, list):
        raise UpstreamError("The provider answered nonsense. Nothing was charged.")
    return found


async def _unless_gone(receive: Receive, work: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
    """Return what the work answers; give it up, and raise `ClientGoneError`, when the client leaves."""
    answers: list[AnswerT] = []
    failure: CreditError | None = None
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            await until_gone(receive)
            group.cancel_scope.cancel()

        group.start_soon(watch)
        try:
            answers.append(await work())
        except CreditError as error:
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if not answers:
        raise ClientGoneError
    return answers[0]


def _shown(model: Model) -> dict[str, Any]:
    """Return a model as OpenAI describes one, with its prices in USD."""
    pricing = {name: str(getattr(model.price, name)) for name in ("prompt", "cached", "completion", "image")}
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": model.provider,
        "kind": model.kind,
        "power_level": model.power_level,
        "pricing": pricing,
    }
