"""Flask: the session of a request pays for what is billable in it."""

import json

import flask

from credit_sdk.errors import CreditError
from credit_sdk.integrations._sessions import Sessions, problem
from credit_sdk.service import CreditDeductionService
from credit_sdk.wire import SESSION_COOKIE

_BLOCK = "credit_sdk_paying"


def init_app(
    app: flask.Flask,
    billing: CreditDeductionService,
    *,
    cookie: str = SESSION_COOKIE,
    cache_seconds: float = 10.0,
) -> None:
    """Let whoever a request's session belongs to pay for billable functions that it calls.

    Without a session, billable functions have to name who pays; with one that is not valid they raise
    `NotAuthenticatedError`. A `CreditError` that nobody else answers becomes a problem document.
    """
    sessions = Sessions(billing, cookie, cache_seconds)

    def begin() -> None:
        request = flask.request
        token = sessions.token_of(request.headers.get("Cookie"), request.headers.get("Authorization"))
        block = sessions.paying(token)
        block.__enter__()  # until the request ends
        setattr(flask.g, _BLOCK, block)

    def end(_: BaseException | None) -> None:
        block = flask.g.pop(_BLOCK, None)
        if block is not None:
            block.__exit__(None, None, None)

    def answer(error: CreditError) -> flask.Response:
        members, status, headers = problem(error)
        return flask.Response(json.dumps(members), status, headers)

    app.before_request(begin)
    app.teardown_request(end)
    app.register_error_handler(CreditError, answer)
