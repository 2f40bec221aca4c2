"""A server that means harm: what it answers becomes a typed error, soon, and learns nothing.

Real sockets, and no HTTP library on the server's side: it sends what no library would. This is row
110 of the catalogue in RELIABILITY section 5.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socketserver
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import pytest

from credit_sdk import (
    Account,
    AsyncCreditDeductionService,
    CreditDeductionService,
    CreditError,
    OutcomeUnknownError,
    RateLimitedError,
    Retries,
    UnexpectedResponseError,
)
from credit_sdk.backends._wire_format import LARGEST_RESPONSE_BYTES

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio
ADA = Account(org_id="acme", user_id="ada")
KEY = "csk_not_to_be_seen_by_anybody_else"
ONCE = Retries(attempts=1)
JSON = "Content-Type: application/json"

RECEIPT = {
    "success": True,
    "charge_id": "0193a1b2-0000-7000-8000-000000000001",
    "org_id": "acme",
    "user_id": "ada",
    "credits_used": 5,
    "remaining_credits": 95,
    "service_type": "x",
    "request_id": "req-1",
    "created_at": "2026-01-01T00:00:00Z",
    "replayed": False,
}


@dataclass
class Hostile:
    """A server that answers each request by a script, and remembers what it was sent."""

    script: Any
    stopping: threading.Event = field(default_factory=threading.Event)
    requests: list[bytes] = field(default_factory=list)
    url: str = ""


class Listen(Protocol):
    """Starts a server; `script` gets each connection once a request has been read from it."""

    def __call__(self, script: Any) -> Hostile: ...


def read_request(connection: socket.socket) -> bytes:
    """Return one request, or nothing when the connection was closed."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65_536)
        if not piece:
            return b""
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    [length] = [int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while len(body) < length:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


class Server(socketserver.ThreadingTCPServer):
    """Does not wait for connections that the client keeps."""

    daemon_threads = True
    block_on_close = False


@pytest.fixture
def listen() -> Iterator[Listen]:
    with contextlib.ExitStack() as stack:

        def start(script: Any) -> Hostile:
            hostile = Hostile(script)

            class Handler(socketserver.BaseRequestHandler):
                def handle(self) -> None:
                    # The client hangs up in the middle of most of these answers.
                    with contextlib.suppress(ConnectionError):
                        while request := read_request(self.request):
                            hostile.requests.append(request)
                            hostile.script(self.request, hostile.stopping)

            server = stack.enter_context(Server(("127.0.0.1", 0), Handler))
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            stack.callback(hostile.stopping.set)
            hostile.url = f"http://127.0.0.1:{server.server_address[1]}"
            return hostile

        yield start


def answer(status: str, *headers: str, body: bytes = b"") -> bytes:
    length = f"Content-Length: {len(body)}"
    return "\r\n".join([f"HTTP/1.1 {status}", length, *headers, "", ""]).encode() + body


def answering(*answers: bytes) -> Any:
    """A script that sends the answers in turn, the last one for ever."""
    remaining = list(answers)

    def script(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(remaining.pop(0) if len(remaining) > 1 else remaining[0])

    return script


def forever(beginning: bytes, piece: bytes) -> Any:
    """A script that begins an answer and goes on, a piece every moment, and never ends it.

    It hangs up in the end, lest a client that waits for ever makes a test that does.
    """

    def script(connection: socket.socket, stopping: threading.Event) -> None:
        connection.sendall(beginning)
        for _ in range(2_000):
            if stopping.wait(0.01):
                return
            connection.sendall(piece)
        connection.shutdown(2)

    return script


class Deduct(Protocol):
    """Charges ada 5 credits over HTTP and returns the error, or the receipt."""

    async def __call__(self, url: str, **options: Any) -> Any: ...


@pytest.fixture(params=["blocking", "awaiting"])
def deduct(request: pytest.FixtureRequest) -> Deduct:
    async def blocking(url: str, **options: Any) -> Any:
        given: dict[str, Any] = {"api_key": KEY, "retries": ONCE, **options}
        with CreditDeductionService(url, **given) as billing:
            try:
                return billing.deduct(ADA, 5, service_type="x", request_id="req-1")
            except CreditError as error:
                return error

    async def awaiting(url: str, **options: Any) -> Any:
        given: dict[str, Any] = {"api_key": KEY, "retries": ONCE, **options}
        async with AsyncCreditDeductionService(url, **given) as billing:
            try:
                return await billing.deduct(ADA, 5, service_type="x", request_id="req-1")
            except CreditError as error:
                return error

    return blocking if request.param == "blocking" else awaiting


def encoded(**changes: Any) -> bytes:
    return json.dumps(RECEIPT | changes).encode()


BOMB = gzip.compress(gzip.compress(b"\0" * 4 * LARGEST_RESPONSE_BYTES))

ANSWERS: dict[str, tuple[bytes, type[CreditError]]] = {
    "HTML": (answer("200 OK", "Content-Type: text/html", body=b"<p>Welcome!"), UnexpectedResponseError),
    "text": (answer("200 OK", "Content-Type: text/plain", body=b"ok"), UnexpectedResponseError),
    "nothing": (answer("200 OK"), UnexpectedResponseError),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", UnexpectedResponseError),
    "another shape": (answer("200 OK", JSON, body=b'{"paid": true}'), OutcomeUnknownError),
    "a list": (answer("200 OK", JSON, body=b"[" + encoded() + b"]"), OutcomeUnknownError),
    "deep": (answer("200 OK", JSON, body=b'{"a":' * 100_000), OutcomeUnknownError),
    "not UTF-8": (answer("200 OK", JSON, body=encoded().replace(b"ada", b"\xff\xfe")), OutcomeUnknownError),
    "a charge that gives": (answer("200 OK", JSON, body=encoded(credits_used=-5)), OutcomeUnknownError),
    "a charge of nothing": (answer("200 OK", JSON, body=encoded(credits_used=0)), OutcomeUnknownError),
    "a balance that is none": (
        answer("200 OK", JSON, body=encoded(remaining_credits="-Infinity")),
        OutcomeUnknownError,
    ),
    "a balance of 10^400": (
        answer("200 OK", JSON, body=encoded().replace(b"95", b"9e400")),
        OutcomeUnknownError,
    ),
    "half an answer": (answer("200 OK", JSON, "Connection: close")[:40], OutcomeUnknownError),
    "other bytes": (b"SSH-2.0-OpenSSH_9.2\r\n", OutcomeUnknownError),
    "endless headers": (b"HTTP/1.1 200 OK\r\n" + b"X-Filler: 0123456789\r\n" * 10_000, OutcomeUnknownError),
    "another protocol": (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        OutcomeUnknownError,
    ),
    "compressed twice": (
        answer("200 OK", JSON, "Content-Encoding: gzip, gzip", body=BOMB),
        OutcomeUnknownError,
    ),
}


@pytest.mark.parametrize(("text", "kind"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_an_answer_that_is_none_is_one_typed_error(
    listen: Listen, deduct: Deduct, text: bytes, kind: type[CreditError]
) -> None:
    def script(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(text)
        connection.shutdown(1)

    error = await deduct(listen(script).url)
    assert type(error) is kind
    assert "127.0.0.1" in error.detail
    assert KEY not in f"{error!r} {error}"


@pytest.mark.parametrize("endless", [False, True], ids=["", "endless"])
async def test_a_compressed_answer_is_not_unpacked(listen: Listen, deduct: Deduct, endless: bool) -> None:
    packed = answer("200 OK", JSON, "Content-Encoding: gzip", body=gzip.compress(encoded()))
    hostile = listen(forever(packed[:-8], b"\0") if endless else answering(packed))
    error = await deduct(hostile.url)
    assert type(error) is OutcomeUnknownError
    assert "cannot be read" in error.detail
    assert b"\r\naccept-encoding: identity\r\n" in hostile.requests[0].lower()


async def test_interim_answers_are_passed_over(listen: Listen, deduct: Deduct) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    receipt = await deduct(listen(answering(interim + answer("200 OK", JSON, body=encoded()))).url)
    assert receipt.remaining == 95


async def test_a_balance_below_zero_is_told_as_it_is(listen: Listen, deduct: Deduct) -> None:
    # An administrator may lower an allocation below what is used.
    receipt = await deduct(listen(answering(answer("200 OK", JSON, body=encoded(remaining_credits=-5)))).url)
    assert receipt.remaining == -5


START = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ENDLESS = {
    "body": forever(f"{START}Content-Length: 1000000\r\n\r\n".encode(), b" "),
    "chunked body": forever(f"{START}Transfer-Encoding: chunked\r\n\r\n".encode(), b"1\r\n \r\n"),
    "header": forever(f"{START}X-Filler: ".encode(), b"x"),
    "interim answers": forever(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "silence": forever(b"", b""),
}


@pytest.mark.parametrize("script", ENDLESS.values(), ids=ENDLESS.keys())
async def test_an_answer_that_never_ends_is_given_up(listen: Listen, deduct: Deduct, script: Any) -> None:
    error = await deduct(listen(script).url, timeout=0.2)
    assert type(error) is OutcomeUnknownError
    assert "in time" in error.detail or "ReadTimeout" in error.detail


async def test_an_answer_that_never_ends_is_given_up_by_a_client_of_the_applications_own(
    listen: Listen,
) -> None:
    url = listen(ENDLESS["body"]).url
    with (
        httpx.Client() as client,
        CreditDeductionService(url, retries=ONCE, timeout=0.2, http_client=client) as billing,
        pytest.raises(OutcomeUnknownError, match="in time"),
    ):
        billing.deduct(ADA, 5, service_type="x")


async def test_a_huge_body_is_not_read_to_its_end(listen: Listen, deduct: Deduct) -> None:
    sent = 0

    def flood(connection: socket.socket, stopping: threading.Event) -> None:
        nonlocal sent
        connection.sendall(f"{START}Content-Length: {2**40}\r\n\r\n".encode())
        while not stopping.is_set():
            sent += connection.send(b" " * 65_536)

    error = await deduct(listen(flood).url)
    assert type(error) is UnexpectedResponseError
    assert f"more than {LARGEST_RESPONSE_BYTES} bytes" in error.detail
    # What is on its way in the sockets' buffers comes on top.
    assert sent < 2 * LARGEST_RESPONSE_BYTES


@pytest.mark.parametrize("status", ["301", "302", "303", "307", "308"])
@pytest.mark.parametrize("follows", [False, True], ids=["", "with a client that follows"])
async def test_a_redirect_is_not_followed(listen: Listen, deduct: Deduct, status: str, follows: bool) -> None:
    elsewhere = listen(answering(answer("200 OK", JSON, body=encoded())))
    hostile = listen(answering(answer(f"{status} Over there", f"Location: {elsewhere.url}/collect")))
    with httpx.Client(follow_redirects=True) as client:
        async with httpx.AsyncClient(follow_redirects=True) as async_client:
            options = {"http_client": client, "async_http_client": async_client} if follows else {}
            error = await deduct(hostile.url, **options)
    assert type(error) is UnexpectedResponseError
    assert status in error.detail
    assert (len(hostile.requests), elsewhere.requests) == (1, [])


@pytest.mark.parametrize("seconds", ["1000000000", "120", "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_a_wait_beyond_the_deadline_is_not_begun(listen: Listen, deduct: Deduct, seconds: str) -> None:
    hostile = listen(answering(answer("429 Too Many Requests", f"Retry-After: {seconds}")))
    error = await deduct(hostile.url, retries=Retries(attempts=5, deadline=20))
    assert type(error) is RateLimitedError
    assert len(hostile.requests) == 1


async def test_cookies_of_the_server_are_not_sent_back(listen: Listen) -> None:
    planted = answer(
        "200 OK", JSON, "Set-Cookie: session_token=of-somebody-else; Path=/; Max-Age=86400", body=encoded()
    )
    hostile = listen(answering(planted))
    with CreditDeductionService(hostile.url, api_key=KEY) as billing:
        for _ in range(2):
            billing.deduct(ADA, 5, service_type="x")
    async with AsyncCreditDeductionService(hostile.url, api_key=KEY) as service:
        for _ in range(2):
            await service.deduct(ADA, 5, service_type="x")
    assert len(hostile.requests) == 4
    assert not any(b"cookie:" in request.lower() for request in hostile.requests)
