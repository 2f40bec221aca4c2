"""The calls of Stripe's API that a checkout needs, as a process: customers, prices, checkout sessions.

An answer is the object that Stripe publishes as an example, with the values of the request. A key makes a
request safe to repeat: the same key with the same form answers the same object, with another form 400.
"""

from __future__ import annotations

import json
import secrets
import socket
import sys
import threading
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

FIXTURES: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "data" / "stripe" / "fixtures.json").read_text(encoding="utf-8")
)
KEY = "sk_test_of_the_fake"
UNKNOWN = "resource_missing"

Form = dict[str, str]


class FakeStripe:
    """Objects in memory, and the requests that asked for them."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[Form, dict[str, Any]]] = {}
        self.requests: list[dict[str, Any]] = []
        self.prices: set[str] = set()
        self.payments: list[dict[str, Any]] = []

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/customers", self.make_customer, methods=["POST"]),
                Route("/v1/prices", self.make_price, methods=["POST"]),
                Route("/v1/checkout/sessions", self.open_session, methods=["POST"]),
                Route("/v1/payment_intents", self.pay, methods=["POST"]),
                Route("/v1/payment_intents", self.list_payments),
                Route("/forget", self.forget_keys, methods=["POST"]),
                Route("/requests", self.list_requests),
            ]
        )

    async def list_requests(self, _: Request) -> Response:
        return JSONResponse(self.requests)

    async def forget_keys(self, _: Request) -> Response:
        """Forget which keys requests had, as Stripe does after a day."""
        self.answers.clear()
        return JSONResponse({})

    async def list_payments(self, request: Request) -> Response:
        """List the payments of a customer, newest first, two on a page."""
        query = request.query_params
        if query["customer"].startswith("cus_unknown"):
            return _error(400, "invalid_request_error", "No such customer", UNKNOWN)
        found = [each for each in self.payments if each["customer"] == query["customer"]][::-1]
        ids = [each["id"] for each in found]
        begin = ids.index(query["starting_after"]) + 1 if "starting_after" in query else 0
        page = {"object": "list", "url": "/v1/payment_intents", "has_more": len(found) > begin + 2}
        return JSONResponse(page | {"data": found[begin : begin + 2]})

    async def make_customer(self, request: Request) -> Response:
        return await self._made(request, "customer", "cus", ("name", "email"))

    async def make_price(self, request: Request) -> Response:
        return await self._made(request, "price", "price", ("currency", "unit_amount"))

    async def open_session(self, request: Request) -> Response:
        return await self._made(
            request,
            "checkout.session",
            "cs_test",
            ("mode", "customer", "client_reference_id", "success_url", "cancel_url"),
        )

    async def pay(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        refusal = form.get("payment_method", "").removeprefix("pm_")
        if refusal in {"card_declined", "authentication_required"}:
            self.requests.append({"path": request.url.path, "form": form})
            return _error(402, "card_error", "Your card was declined.", refusal)
        if refusal == "currency":
            return _error(400, "invalid_request_error", "Not in this currency", "parameter_invalid")
        if refusal == UNKNOWN or form.get("customer", "").startswith("cus_unknown"):
            self.requests.append({"path": request.url.path, "form": form})
            return _error(400, "invalid_request_error", "No such PaymentMethod", UNKNOWN)
        fields = ("amount", "currency", "customer", "payment_method")
        answer = await self._made(request, "payment_intent", "pi", fields)
        made = json.loads(answer.body)
        if answer.status_code == HTTPStatus.OK and made not in self.payments:
            self.payments.append(made)
        return answer

    async def _made(self, request: Request, kind: str, prefix: str, fields: tuple[str, ...]) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        self.requests.append({"path": request.url.path, "form": form})
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return _error(401, "invalid_request_error", "Invalid API Key provided")
        if form.get("line_items[0][price]", "").startswith("price_of_nobody"):
            return _error(400, "invalid_request_error", "No such price")
        key = request.headers.get("idempotency-key", secrets.token_hex(8))
        first, made = self.answers.setdefault(key, (form, _object(kind, prefix, fields, form)))
        if first != form:
            return _error(400, "idempotency_error", "Keys can only be used with the same parameters")
        return JSONResponse(made)


def _object(kind: str, prefix: str, fields: tuple[str, ...], form: Form) -> dict[str, Any]:
    made = FIXTURES[kind] | {"id": f"{prefix}_{secrets.token_hex(12)}"}
    for field in fields:
        if field in form:
            value = form[field]
            made[field] = int(value) if isinstance(FIXTURES[kind][field], int) else value
    if kind == "payment_intent":
        made |= {"status": "succeeded", "amount_received": made["amount"]}
        made |= {"metadata": {"top_up": form["metadata[top_up]"]}}
    if kind == "checkout.session":
        made |= {"url": f"https://checkout.stripe.com/c/pay/{made['id']}", "status": "open"}
    if kind == "price" and "recurring[interval]" not in form:
        made |= {"recurring": None, "type": "one_time"}
    return made


def _error(status: int, kind: str, message: str, code: str | None = None) -> Response:
    return JSONResponse({"error": {"type": kind, "message": message, "code": code}}, status_code=status)


def main() -> None:
    """Serve until standard input ends; say the address in one line."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(FakeStripe().app(), log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        sys.stdin.read()
        server.should_exit = True
        thread.join()


if __name__ == "__main__":
    main()
