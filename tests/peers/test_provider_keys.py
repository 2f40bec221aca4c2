"""The provider's keys: rotated, retired, asked for by a flood, out of reach."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from credit_sdk.errors import InvalidTokenError, UnavailableError
from reference_server.oidc.keys import LIFETIME, LOOKS, RETRY, WINDOW, KeyCache

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.peers.conftest import MockProvider, Site


def _stranger() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


def test_rotation(site: Site, mock_provider: MockProvider) -> None:
    before = mock_provider.requests("/jwks")
    old = mock_provider.new_key()
    old_token = mock_provider.token(old)
    assert site.billing(old_token).status_code == 200
    new = mock_provider.new_key("ES256")
    assert site.billing(mock_provider.token(new)).status_code == 200
    assert site.billing(old_token).status_code == 200
    assert site.billing(mock_provider.token(old, sub=secrets.token_hex(6))).status_code == 200
    assert mock_provider.requests("/jwks") - before == 2


def test_a_flood_of_unknown_keys(site: Site, mock_provider: MockProvider, kid: str) -> None:
    before = mock_provider.requests("/jwks")
    assert site.billing(mock_provider.token(kid)).status_code == 200
    stranger, claims = _stranger(), {"sub": "ada"}
    flood = [jwt.encode(claims, stranger, "RS256", headers={"kid": f"k{number}"}) for number in range(100)]
    with ThreadPoolExecutor(10) as pool:
        assert {response.status_code for response in pool.map(site.billing, flood)} == {401}
    assert mock_provider.requests("/jwks") - before == LOOKS
    assert site.billing(mock_provider.token(kid, sub=secrets.token_hex(6))).status_code == 200


class Clock:
    """Goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def cached(mock_provider: MockProvider) -> AsyncIterator[tuple[KeyCache, Clock]]:
    """A key cache on the mock provider's keys, with a clock of its own."""
    clock = Clock()
    async with httpx.AsyncClient() as client:

        async def fetch() -> dict[str, Any]:
            document: dict[str, Any] = (await client.get(f"{mock_provider.issuer}/jwks")).json()
            return document

        yield KeyCache(fetch, clock), clock


@pytest.mark.anyio
async def test_a_key_that_is_no_longer_published(
    cached: tuple[KeyCache, Clock], mock_provider: MockProvider
) -> None:
    keys, clock = cached
    retired = mock_provider.new_key()
    assert (await keys.get(retired)).key_id == retired
    mock_provider.retire(retired)
    assert (await keys.get(retired)).key_id == retired
    clock.now += LIFETIME
    with pytest.raises(InvalidTokenError):
        await keys.get(retired)


@pytest.mark.anyio
async def test_a_flood_does_not_stop_rotation_for_long(
    cached: tuple[KeyCache, Clock], mock_provider: MockProvider
) -> None:
    keys, clock = cached
    before = mock_provider.requests("/jwks")
    for number in range(50):
        with pytest.raises(InvalidTokenError):
            await keys.get(f"unknown-{number}")
    assert mock_provider.requests("/jwks") - before == LOOKS
    new = mock_provider.new_key()
    with pytest.raises(InvalidTokenError):
        await keys.get(new)
    clock.now += WINDOW
    assert (await keys.get(new)).key_id == new


@pytest.mark.anyio
async def test_keys_outlive_a_provider_that_is_away() -> None:
    clock, answers, key = Clock(), [True], _stranger().public_key()
    asked = 0

    async def fetch() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        if not answers[0]:
            raise UnavailableError
        jwk = jwt.algorithms.RSAAlgorithm.to_jwk(key, as_dict=True)
        useless: list[Any] = [{"kty": "oct", "k": "c2VjcmV0", "kid": "hmac"}, {"kid": "x"}, None, "y"]
        encrypting = jwk | {"kid": "encrypting", "use": "enc"}
        return {"keys": [*useless, encrypting, jwk | {"kid": "k"}]}

    keys = KeyCache(fetch, clock)
    assert (await keys.get("k")).key_id == "k"
    for useless in ("hmac", "x", "encrypting"):
        with pytest.raises(InvalidTokenError):
            await keys.get(useless)
    answers[0] = False
    clock.now += LIFETIME
    asked = 0
    for _ in range(10):
        assert (await keys.get("k")).key_id == "k"
    assert asked == 1
    clock.now += RETRY
    await keys.get("k")
    assert asked == 2
    with pytest.raises(UnavailableError):
        await keys.get("unknown")
    answers[0] = True
    clock.now += RETRY
    with pytest.raises(InvalidTokenError):
        await keys.get("unknown")
