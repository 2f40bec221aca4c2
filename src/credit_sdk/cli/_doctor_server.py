"""Look at a server as `credits doctor` does: whether it can charge, and knows who asks."""

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx

from credit_sdk.backends._reasons import reason_of
from credit_sdk.backends._wire_format import Credential, server_url
from credit_sdk.cli._findings import Finding, clock_finding
from credit_sdk.errors import CreditError, UnavailableError
from credit_sdk.operations import ListOrganizations

_TIMEOUT_SECONDS = 10.0


def examine_server(url: str, api_key: str | None) -> Iterator[Finding]:
    """Yield what is found. Raises a `CreditError` when nothing more can be said."""
    base = server_url(url)
    with httpx.Client(base_url=base, timeout=_TIMEOUT_SECONDS) as client:
        before = datetime.now(UTC)
        answer = _get(client, "/healthz")
        if answer.status_code != HTTPStatus.OK:
            yield Finding(
                "reachable",
                "failure",
                f"{base} answers {answer.status_code} to /healthz: this is no credits server.",
                "Check the address; it has no path.",
            )
            return
        yield Finding("reachable", "ok", f"{base} answers.")
        if "Date" in answer.headers:
            # It counts whole seconds.
            theirs = parsedate_to_datetime(answer.headers["Date"])
            yield clock_finding(theirs, before.replace(microsecond=0), datetime.now(UTC))
        yield _readiness(_get(client, "/readyz"))
    yield _credential(url, api_key)


def _get(client: httpx.Client, path: str) -> httpx.Response:
    try:
        return client.get(path)
    except httpx.HTTPError as error:
        raise UnavailableError(
            f"{client.base_url} cannot be reached ({reason_of(error)}): is the server running there "
            "(`credits serve`)?"
        ) from None


def _readiness(answer: httpx.Response) -> Finding:
    if answer.status_code == HTTPStatus.OK:
        return Finding("ready", "ok", "a charge would work.")
    return Finding(
        "ready",
        "failure",
        "the server is up, but its database is away or not migrated.",
        "Run `credits doctor` there with the database's URL.",
    )


def _credential(url: str, api_key: str | None) -> Finding:
    if api_key is None:
        return Finding(
            "credential",
            "warning",
            "no API key is set: only sessions of users can charge.",
            "Set CREDIT_SDK_API_KEY; `credits token create-key` makes one.",
        )
    from credit_sdk.backends.http import HttpBackend  # noqa: PLC0415

    backend = HttpBackend(url, Credential(api_key=api_key), timeout=_TIMEOUT_SECONDS)
    try:
        backend.execute(ListOrganizations(limit=1))
    except CreditError as error:
        if error.status == HTTPStatus.FORBIDDEN:  # known, and made for charging only
            return Finding("credential", "ok", "the API key is known.")
        return Finding("credential", "failure", str(error), "Check CREDIT_SDK_API_KEY.")
    finally:
        backend.close()
    return Finding("credential", "ok", "the API key is known.")
