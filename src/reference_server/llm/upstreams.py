"""Speaking to providers: OpenAI-compatible services, each under the name that models refer to."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import anyio
import httpx

from credit_sdk.redaction import redact_text
from reference_server.llm.offline import OFFLINE_ADDRESS, OfflineTransport
from reference_server.llm.problems import UpstreamError, UpstreamRefusedError, UpstreamTimeoutError
from reference_server.llm.settings import GatewaySettings

OFFLINE = "offline"
CONNECT_SECONDS = 10
LONGEST_CALL_SECONDS = 850
"""Less than a hold lasts."""
LARGEST_ANSWER = 64 * 1024 * 1024
LARGEST_REFUSAL = 64 * 1024
LONGEST_WORDS = 500
_NO_KEY = "none"
_CLIENT_ERRORS = range(400, 500)
# What the provider says of our credential, or of what we owe it, is between it and us.
_NOT_THE_CLIENTS = frozenset({401, 402, 403, 407})


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: as it came, which is how the client gets it, and what it says."""

    body: bytes
    document: dict[str, Any]


class Upstreams:
    """The providers of a server, over one pool of connections."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._addresses = {OFFLINE: OFFLINE_ADDRESS, **settings.upstream_addresses()}
        self._keys = settings.upstream_keys()
        self._offline = settings.llm_offline
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(settings.llm_seconds, connect=CONNECT_SECONDS, pool=None),
            # As many calls at once as there are: what limits them is credits.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=100),
            mounts={f"all://{OFFLINE_ADDRESS.partition('://')[2].partition('/')[0]}": OfflineTransport()},
            headers={"Accept-Encoding": "identity", "User-Agent": "credit-sdk-gateway"},
        )

    def serves(self, provider: str) -> bool:
        """Whether models of the provider can be offered."""
        return self._offline or provider in self._addresses

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    @asynccontextmanager
    async def answering(
        self, provider: str, path: str, body: Mapping[str, Any], own_key: str | None
    ) -> AsyncIterator[httpx.Response]:
        """Send a request and give its answer (200, not yet read); raise `UpstreamError` for any other.

        Also what goes wrong while the answer is read is raised as `UpstreamError`.
        """
        address = self._addresses.get(provider, OFFLINE_ADDRESS)
        key = own_key or self._keys.get(provider, _NO_KEY)
        try:
            async with self._client.stream(
                "POST",
                f"{address}{path}",
                content=json.dumps(body),
                headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            ) as response:
                await _require_success(response, own=own_key is not None)
                yield response
        except httpx.TimeoutException:
            raise UpstreamTimeoutError from None
        except httpx.HTTPError as error:
            # Its text may name the provider's address.
            raise UpstreamError(
                f"The provider cannot be reached, or broke off ({type(error).__name__}). Nothing was charged."
            ) from None

    async def ask(self, provider: str, path: str, body: Mapping[str, Any], own_key: str | None) -> Answer:
        """Return the object that the provider answers; raise `UpstreamError` for anything else."""
        try:
            with anyio.fail_after(LONGEST_CALL_SECONDS):
                async with self.answering(provider, path, body, own_key) as response:
                    body_of_answer = await _read(response, LARGEST_ANSWER)
        except TimeoutError:
            raise UpstreamTimeoutError from None
        document = _parsed(body_of_answer)
        if document is None or "error" in document:
            raise UpstreamError("The provider answered nonsense. Nothing was charged.")
        return Answer(body_of_answer, document)


async def _require_success(response: httpx.Response, *, own: bool) -> None:
    status = response.status_code
    if response.headers.get("content-encoding", "identity") != "identity":
        raise UpstreamError("The provider's answer is compressed, which was not asked for.")
    if status == HTTPStatus.OK:
        return
    if status in _NOT_THE_CLIENTS:
        whose = "organisation's own" if own else "platform's"
        raise UpstreamError(f"The provider refused the {whose} key. Nothing was charged.")
    if status not in _CLIENT_ERRORS:
        raise UpstreamError(f"The provider answered {status}. Nothing was charged.")
    words = (_parsed(await _read(response, LARGEST_REFUSAL)) or {}).get("error")
    said = words if isinstance(words, dict) else {}
    message, code = said.get("message"), said.get("code")
    raise UpstreamRefusedError(
        status,
        redact_text(message)[:LONGEST_WORDS] if isinstance(message, str) else f"The provider says {status}.",
        code=redact_text(code)[:LONGEST_WORDS] if isinstance(code, str) else None,
        retry_after=_whole_seconds(response.headers.get("retry-after")),
    )


def _whole_seconds(text: str | None) -> str | None:
    return text if text and text.isascii() and text.isdecimal() else None


async def _read(response: httpx.Response, largest: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > largest:
            raise UpstreamError("The provider's answer is too large. Nothing was charged.")
    return bytes(body)


def _parsed(body: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None
