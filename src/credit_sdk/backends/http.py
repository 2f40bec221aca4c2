"""HTTP: each operation is one request to the address that `wire.py` gives it.

The only file that imports httpx.
"""

import asyncio
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from credit_sdk import _telemetry
from credit_sdk._resources import PerLoop, PerProcess
from credit_sdk.backends._deadlines import bound_connections, ending_within, seconds_left
from credit_sdk.backends._outcomes import outcome_error
from credit_sdk.backends._wire_format import (
    LARGEST_RESPONSE_BYTES,
    Credential,
    Request,
    decode,
    encode,
    explained,
    server_url,
    too_large,
    too_slow,
    transport_error,
)
from credit_sdk.errors import NotAuthenticatedError, OutcomeUnknownError
from credit_sdk.operations import Operation, ResultT_co

DEFAULT_TIMEOUT_SECONDS = 10.0
CONNECT_TIMEOUT_SECONDS = 5.0
LARGEST_POOL = 100
# uvicorn drops an idle connection after five seconds; a pool that keeps it longer meets a reset.
KEEPALIVE_SECONDS = 4.0
OWN_CLIENT_HEADERS = {"User-Agent": "credit-sdk"}
HEADERS = {
    "Accept": "application/json, application/problem+json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
}

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class HttpBackend:
    """Carries operations out on a server, blocking.

    `client` may be an `httpx.Client` of the application's own, which stays the application's to close.
    `timeout` is in seconds, for the answer to each attempt; a connection may take five more.
    """

    def __init__(
        self,
        url: str,
        credential: Credential,
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        client: httpx.Client | None = None,
    ) -> None:
        self._url = server_url(url)
        self._timeout = timeout
        self._host = httpx.URL(self._url).netloc.decode()
        self._credential = credential
        self._outgoing = Outgoing(credential, None if client is not None else timeout)
        self._clients = (
            PerProcess(lambda: client, lambda _: None)
            if client is not None
            else PerProcess(lambda: _client(timeout), httpx.Client.close)
        )

    @property
    def peer(self) -> dict[str, str]:
        """The other end, in OpenTelemetry's words."""
        return {"server.address": self._host}

    def as_caller(self, session_token: str) -> "HttpBackend":
        """Return the same connections with a user's session."""
        credential = self._credential.of_session(session_token)
        view = object.__new__(HttpBackend)
        outgoing = self._outgoing.on_behalf_of(credential)
        view.__dict__.update(self.__dict__, _credential=credential, _outgoing=outgoing)
        return view

    def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Return the operation's result, or raise a `CreditError`."""
        request = encode(operation, self._url)
        try:
            with ending_within(_longest(self._timeout)):
                response, content = self._send(request)
            return decode(operation, response.status_code, response.headers, content, self._host)
        except TimeoutError:
            raise outcome_error(too_slow(self._host), operation) from None
        except httpx.HTTPError as error:
            lost = transport_error(error, self._host, sent=not isinstance(error, _NOT_SENT))
            raise outcome_error(lost, operation) from None
        except OutcomeUnknownError as error:
            raise outcome_error(error, operation) from None
        except NotAuthenticatedError as error:
            raise explained(error, self._credential) from None

    def close(self) -> None:
        """Close the connections, unless the client is the application's own."""
        self._clients.close()

    def _send(self, request: Request) -> tuple[httpx.Response, bytes]:
        client = self._clients.get()
        ready = self._outgoing.request(client, request)
        response = client.send(ready, stream=True, follow_redirects=False)
        try:
            body = Body(self._host)
            if is_plain(response):
                for piece in response.iter_bytes():
                    body.add(piece)
            return response, bytes(body.content)
        finally:
            response.close()


class AsyncHttpBackend:
    """Carries operations out on a server, awaiting; one pool of connections for each event loop."""

    def __init__(
        self,
        url: str,
        credential: Credential,
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        self._url = server_url(url)
        self._timeout = timeout
        self._host = httpx.URL(self._url).netloc.decode()
        self._credential = credential
        self._outgoing = Outgoing(credential, None if client is not None else timeout)
        self._clients = (
            PerLoop(lambda: client, _leave_open)
            if client is not None
            else PerLoop(lambda: httpx.AsyncClient(**_options(timeout)), httpx.AsyncClient.aclose)
        )

    @property
    def peer(self) -> dict[str, str]:
        """The other end, in OpenTelemetry's words."""
        return {"server.address": self._host}

    def as_caller(self, session_token: str) -> "AsyncHttpBackend":
        """Return the same connections with a user's session."""
        credential = self._credential.of_session(session_token)
        view = object.__new__(AsyncHttpBackend)
        outgoing = self._outgoing.on_behalf_of(credential)
        view.__dict__.update(self.__dict__, _credential=credential, _outgoing=outgoing)
        return view

    async def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Return the operation's result, or raise a `CreditError`."""
        request = encode(operation, self._url)
        try:
            async with asyncio.timeout(_longest(self._timeout)):
                response, content = await self._send(request)
            return decode(operation, response.status_code, response.headers, content, self._host)
        except TimeoutError:
            raise outcome_error(too_slow(self._host), operation) from None
        except httpx.HTTPError as error:
            lost = transport_error(error, self._host, sent=not isinstance(error, _NOT_SENT))
            raise outcome_error(lost, operation) from None
        except OutcomeUnknownError as error:
            raise outcome_error(error, operation) from None
        except NotAuthenticatedError as error:
            raise explained(error, self._credential) from None

    async def close(self) -> None:
        """Close the running loop's connections, unless the client is the application's own."""
        await self._clients.close()

    async def _send(self, request: Request) -> tuple[httpx.Response, bytes]:
        client = self._clients.get()
        ready = self._outgoing.request(client, request)
        response = await client.send(ready, stream=True, follow_redirects=False)
        try:
            body = Body(self._host)
            if is_plain(response):
                async for piece in response.aiter_bytes():
                    body.add(piece)
            return response, bytes(body.content)
        finally:
            await response.aclose()


class Body:
    """The body of a response, bounded in size and in time."""

    def __init__(self, host: str) -> None:
        self._host = host
        self.content = bytearray()

    def add(self, piece: bytes) -> None:
        """Add a piece; raise for a body that is too large or takes too long."""
        self.content += piece
        if len(self.content) > LARGEST_RESPONSE_BYTES:
            raise too_large(self._host)
        # A client of the application's own has connections that know no end.
        seconds_left()


def is_plain(response: httpx.Response) -> bool:
    """Whether a body can be read. One that is compressed, which nobody asked for, may be of any size."""
    encoding: str = response.headers.get("Content-Encoding", "identity")
    return encoding.lower() == "identity"


class Outgoing:
    """Makes requests with the headers of a credential.

    On a client of our own, which adds nothing to them, they are made ready without asking it: that takes
    httpx as long as all the rest of a request. A client of the application's own adds what it likes.
    `timeout` is our own client's, in seconds; None is for the application's.
    """

    def __init__(self, credential: Credential, timeout: float | None) -> None:
        self._timeout = timeout
        of_client = {} if timeout is None else OWN_CLIENT_HEADERS
        self._headers = httpx.Headers(of_client | HEADERS | credential.headers())
        self._extensions = None if timeout is None else {"timeout": _timeout(timeout).as_dict()}

    def on_behalf_of(self, credential: Credential) -> "Outgoing":
        """Return the same for another credential."""
        return Outgoing(credential, self._timeout)

    def request(self, client: httpx.Client | httpx.AsyncClient, request: Request) -> httpx.Request:
        """Return a request as httpx sends it."""
        headers = self._headers
        if _telemetry.is_on():
            headers = headers.copy()
            _telemetry.inject(headers)
        if self._extensions is None:
            return client.build_request(request.method, request.url, content=request.content, headers=headers)
        return httpx.Request(
            request.method,
            _url(request.url),
            content=request.content,
            headers=headers,
            extensions=dict(self._extensions),
        )


@lru_cache(maxsize=64)
def _url(url: str) -> httpx.URL:
    return httpx.URL(url)


def _options(timeout: float) -> dict[str, Any]:
    return {
        "timeout": _timeout(timeout),
        "limits": httpx.Limits(max_connections=LARGEST_POOL, keepalive_expiry=KEEPALIVE_SECONDS),
        # Connections are shared by callers with sessions of their own; cookies would travel between them.
        "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=())),
    }


def _timeout(timeout: float) -> httpx.Timeout:
    connecting = min(timeout, CONNECT_TIMEOUT_SECONDS)
    return httpx.Timeout(timeout, connect=connecting, pool=connecting)


def _client(timeout: float) -> httpx.Client:
    client = httpx.Client(**_options(timeout))
    bound_connections(client)
    return client


def _longest(timeout: float) -> float:
    """Return how many seconds an attempt may take: to get a connection, and then the answer."""
    return min(timeout, CONNECT_TIMEOUT_SECONDS) + timeout


async def _leave_open(_: httpx.AsyncClient) -> None:
    """Leave the application's own client alone."""


__all__ = ["AsyncHttpBackend", "Credential", "HttpBackend"]
