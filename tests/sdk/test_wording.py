"""Errors say what happened, to which argument, and what to do."""

import asyncio
import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from errno import ECONNREFUSED
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from credit_sdk import (
    Account,
    AsyncCreditDeductionService,
    ConfigurationError,
    CreditDeductionService,
    CreditError,
    InvalidTokenError,
    NotAuthenticatedError,
    Retries,
    TokenExpiredError,
    UnavailableError,
    UnexpectedResponseError,
    ValidationFailedError,
)
from credit_sdk.backends._reasons import reason_of
from credit_sdk.operations import ExpireHolds, RunDue, VerifyLedger

ONCE = Retries(attempts=1)
ADA = Account(org_id="acme", user_id="ada")
BASE = "http://ops.example"


def errors_of(url: str) -> Iterator[CreditError]:
    """Yield what the blocking and the awaiting service say about an address."""
    with CreditDeductionService(url, retries=ONCE) as billing, pytest.raises(CreditError) as caught:
        billing.check(ADA, 1)
    yield caught.value

    async def ask() -> None:
        async with AsyncCreditDeductionService(url, retries=ONCE) as later:
            await later.check(ADA, 1)

    with pytest.raises(CreditError) as caught:
        asyncio.run(ask())
    yield caught.value


@pytest.fixture
def nobody_listens() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


class Quiet(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Say nothing about what cannot be read."""


@contextmanager
def listening(context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Run a server that speaks HTTP, or HTTPS."""
    with http.server.HTTPServer(("127.0.0.1", 0), Quiet) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def self_signed(folder: Path) -> ssl.SSLContext:
    """Return the context of a server whose certificate nobody else has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    path = folder / "server.pem"
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(private + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:{port}", "postgresql://user:hunter2@127.0.0.1:{port}/books"]
)
def test_a_refused_connection_is_called_so(nobody_listens: int, address: str) -> None:
    for error in errors_of(address.format(port=nobody_listens)):
        assert type(error) is UnavailableError
        assert str(nobody_listens) in error.detail
        assert "cannot be reached (connection refused)" in error.detail


def test_a_server_that_is_stopped_is_named_with_what_to_do(nobody_listens: int) -> None:
    for error in errors_of(f"http://127.0.0.1:{nobody_listens}"):
        assert f"127.0.0.1:{nobody_listens}" in error.detail
        assert "`credits serve`" in error.detail
        assert "`credits doctor`" in error.detail


def test_an_address_where_something_else_is_says_what_an_address_looks_like() -> None:
    with listening() as port:
        for error in errors_of(f"http://127.0.0.1:{port}/wrong/path"):
            assert type(error) is UnexpectedResponseError
            assert f"127.0.0.1:{port} answered with status " in error.detail
            assert "such as https://ops.example, to which /api/... is added" in error.detail
            assert "`credits doctor`" in error.detail


@pytest.mark.parametrize("call", ["capture", "void", "get_hold", "refund"])
def test_an_id_that_is_none_says_which_would_be(call: str) -> None:
    with CreditDeductionService("memory://") as billing, pytest.raises(ValidationFailedError) as caught:
        getattr(billing, call)("job-7")
    name = "charge_id" if call == "refund" else "hold_id"
    assert caught.value.detail == f"{name}: must be a UUID, such as the id in the answer that made it"


@pytest.mark.parametrize(
    "address", ["http://nobody.invalid", "postgresql://user:hunter2@nobody.invalid/books"]
)
def test_a_name_that_nobody_knows_is_called_so(address: str) -> None:
    for error in errors_of(address):
        assert type(error) is UnavailableError
        assert "nobody.invalid" in error.detail
        assert "name" in error.detail.partition("cannot be reached")[2]
        assert "hunter2" not in error.detail


def test_of_several_attempts_the_first_failure_is_named() -> None:
    attempts = ExceptionGroup("two addresses", [ConnectionRefusedError(ECONNREFUSED, "no"), OSError()])
    error = OSError("All connection attempts failed")
    error.__cause__ = attempts
    assert reason_of(error) == "connection refused"


def test_a_chain_of_causes_that_leads_back_to_itself_has_an_end() -> None:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    assert reason_of(first) == "ValueError"


def test_a_socket_that_is_not_there_is_called_so(tmp_path: Path) -> None:
    for error in errors_of(f"postgresql:///books?host={tmp_path}"):
        assert error.detail.endswith("cannot be reached (there is no such socket).")


def test_a_certificate_that_is_not_trusted_is_called_so(tmp_path: Path) -> None:
    with listening(self_signed(tmp_path)) as port:
        for error in errors_of(f"https://127.0.0.1:{port}"):
            assert "cannot be reached (TLS: self-signed certificate). `credits doctor`" in error.detail


def test_tls_where_there_is_none_is_called_so() -> None:
    with listening() as port:
        for error in errors_of(f"https://127.0.0.1:{port}"):
            assert "cannot be reached (TLS: " in error.detail


@pytest.mark.parametrize(
    ("credential", "advice"),
    [
        ({}, "or set CREDIT_SDK_API_KEY; `credits token create-key` makes a key."),
        ({"api_key": "csk_secret"}, "It was given as api_key=, CREDIT_SDK_API_KEY or API_KEY."),
        ({"session_token": "cst_secret"}, "It was given as session_token=."),
        ({"bearer_token": "cst_secret"}, "It was given as bearer_token=."),
    ],
    ids=["none", "api_key", "session_token", "bearer_token"],
)
@pytest.mark.parametrize("code", ["not_authenticated", "invalid_token", None])
def test_a_refused_credential_says_where_it_came_from(
    credential: dict[str, Any], advice: str, code: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDIT_SDK_API_KEY", raising=False)
    problem = {"code": code, "detail": "No."} if code else None
    with respx.mock, CreditDeductionService(BASE, **credential) as billing:
        respx.route().mock(return_value=httpx.Response(401, json=problem, headers={"X-Request-ID": "t-1"}))
        with pytest.raises(NotAuthenticatedError) as caught:
            billing.pool("acme")
    assert type(caught.value) is (InvalidTokenError if code == "invalid_token" else NotAuthenticatedError)
    assert caught.value.detail.endswith(advice)
    assert caught.value.request_id == "t-1"
    assert "secret" not in caught.value.detail


@respx.mock
def test_an_expired_session_needs_no_such_advice() -> None:
    expired = httpx.Response(401, json={"code": "token_expired", "detail": "The session has expired."})
    respx.route().mock(return_value=expired)
    billing = CreditDeductionService(BASE, session_token="cst_x")
    with billing, pytest.raises(TokenExpiredError) as caught:
        billing.pool("acme")
    assert caught.value.detail == "The session has expired."


@pytest.mark.parametrize(
    ("operation", "purpose"),
    [
        (VerifyLedger(), "Recompute every balance from the append-only rows"),
        (ExpireHolds(), "Give back the holds whose time is over"),
        (RunDue(), "Do what is due"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_no_server_does_says_to_ask_the_database(operation: Any, purpose: str) -> None:
    with CreditDeductionService(BASE) as billing, pytest.raises(ConfigurationError) as caught:
        billing.execute(operation)
    assert caught.value.detail.startswith(purpose)
    assert caught.value.detail.endswith("through a server; give the database's postgresql:// address.")
    assert type(operation).__name__ not in caught.value.detail


WANTED = "must start with https://, http://, postgresql:// or memory://, but it "


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("", WANTED + "is empty."),
        ("ops.example", WANTED + "starts without any of them."),
        ("hunter2@ops.example", WANTED + "starts without any of them."),
        ("ftp://ops.example", WANTED + "starts with ftp://."),
        ("mysql+pymysql://user:hunter2@db", WANTED + "starts with mysql+pymysql://."),
    ],
)
def test_an_address_of_something_else_is_answered_with_what_an_address_is(
    address: str, complaint: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        CreditDeductionService(address)
    assert caught.value.detail.endswith(complaint)
    assert "hunter2" not in caught.value.detail


@pytest.mark.parametrize(
    "books", [5, object(), Path("books.db"), b"https://ops.example"], ids=lambda books: type(books).__name__
)
def test_books_that_are_no_address_are_refused_by_their_type(books: object) -> None:
    with pytest.raises(ConfigurationError, match=f"not {type(books).__name__}"):
        CreditDeductionService(books)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"timeout": 0}, "timeout must be a number of seconds above zero, not 0"),
        ({"timeout": "5"}, "timeout must be a number of seconds above zero, not '5'"),
        ({"timeout": float("nan")}, "timeout must be a number of seconds above zero, not nan"),
        ({"timeout": True}, "timeout must be a number of seconds above zero, not True"),
        ({"pool_size": 0}, "pool_size must be a whole number above zero, not 0"),
        ({"sql_scale": 0.5}, "sql_scale must be a whole number above zero, not 0.5"),
        ({"retries": 3}, r"retries must be Retries\(...\), not int"),
        ({"prices": 5}, "prices must map service types to credits, which int does not"),
        ({"api_key": 5}, "api_key must be a str, not int"),
        ({"api_key": "csk_hunter2", "session_token": "cst_hunter2"}, "not api_key and session_token"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_service_that_could_not_work_is_refused_by_the_name_of_the_argument(
    arguments: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        CreditDeductionService(BASE, **arguments)
    assert "hunter2" not in caught.value.detail
