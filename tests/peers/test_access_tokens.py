"""Access tokens of a real OpenID Connect provider, and what somebody else made look like them."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx
    import psycopg

    from tests.peers.conftest import Join, MockProvider, Site, StartSite

    Connection = psycopg.Connection[tuple[Any, ...]]


def someone() -> str:
    return f"user-{secrets.token_hex(6)}"


def problem(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def test_an_access_token_is_a_session(
    site: Site, mock_provider: MockProvider, database: Connection, join: Join
) -> None:
    user_id = someone()
    org_id = join(user_id)
    token = mock_provider.token(mock_provider.new_key(), sub=user_id, email=f"{user_id}@a.example", name="A")
    body = site.billing(token).json()
    assert body["user_email"] == f"{user_id}@a.example"
    assert [organization["org_id"] for organization in body["organizations"]] == [org_id]
    database.execute("delete from organization_members where user_id = %s", [user_id])
    assert site.billing(token).json()["organizations"] == []  # at once
    database.execute("update users set is_active = false where subject = %s", [user_id])
    assert problem(site.billing(token)) == (401, "invalid_token")
    for headers in ({"X-API-Key": token}, {"Cookie": f"session_token={token}"}):
        assert problem(site.billing(headers=headers)) == (401, "invalid_token")


def test_an_unknown_subject_has_no_organisations(
    site: Site, mock_provider: MockProvider, database: Connection, join: Join
) -> None:
    user_id, foreign = someone(), join(someone())
    token = mock_provider.token(mock_provider.new_key(), sub=user_id)
    response = site.billing(token)
    assert response.status_code == 200
    assert response.json()["organizations"] == []
    pool = site.get(f"/api/v1/org-billing/credits/{foreign}", bearer=token)
    assert problem(pool) == (403, "not_a_member")
    rows = database.execute("select email from users where subject = %s", [user_id]).fetchall()
    assert rows == [(f"{user_id}@users.invalid",)]


def test_users_follow_the_provider(site: Site, mock_provider: MockProvider, database: Connection) -> None:
    kid, user_id, other = mock_provider.new_key(), someone(), someone()

    def seen(subject: str, **claims: Any) -> tuple[Any, ...] | None:
        assert site.billing(mock_provider.token(kid, sub=subject, **claims)).status_code == 200
        return database.execute("select email, name from users where subject = %s", [subject]).fetchone()

    assert seen(user_id, email=f"{user_id}@a.example", name="Ada") == (f"{user_id}@a.example", "Ada")
    assert seen(user_id, email=f"{user_id}@b.example") == (f"{user_id}@b.example", "Ada")
    assert seen(user_id, name="Ada L.") == (f"{user_id}@b.example", "Ada L.")
    # Another subject with the same address is another user, and takes nothing over.
    assert seen(other, email=f"{user_id}@b.example") == (f"{other}@users.invalid", None)
    assert seen(other, email=f"{other}@b.example", name="\0") == (f"{other}@b.example", None)
    assert seen(other, email=f"{user_id}@b.example") == (f"{other}@b.example", None)


def test_many_first_requests_at_once(site: Site, mock_provider: MockProvider, database: Connection) -> None:
    kid, user_id = mock_provider.new_key(), someone()
    tokens = [mock_provider.token(kid, sub=user_id, email=f"{user_id}@a.example") for _ in range(20)]
    with ThreadPoolExecutor(10) as pool:
        assert {response.status_code for response in pool.map(site.billing, tokens)} == {200}
    count = database.execute("select count(*) from users where subject = %s", [user_id]).fetchone()
    assert count == (1,)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"realm_access": {"roles": ["offline_access", "credits-admin"]}}, 200),
        ({"realm_access": {"roles": ["admin"]}}, 403),
        ({"realm_access": ["credits-admin"]}, 403),
        ({"realm_access": {"roles": "credits-admin"}}, 403),
        ({"realm_access": {"roles": [["credits-admin"], None]}}, 403),
        ({"roles": ["credits-admin"], "resource_access": {"credits": {"roles": ["credits-admin"]}}}, 403),
    ],
)
def test_the_realm_role(
    site: Site, mock_provider: MockProvider, join: Join, claims: dict[str, Any], expected: int
) -> None:
    path = f"/api/v1/org-billing/credits/{join(someone())}/allocations"
    token = mock_provider.token(mock_provider.new_key(), sub=someone(), **claims)
    assert site.get(path, bearer=token).status_code == expected


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "EdDSA"])
def test_algorithms(site: Site, mock_provider: MockProvider, alg: str) -> None:
    assert site.billing(mock_provider.token(mock_provider.new_key(alg))).status_code == 200


def test_another_audience(start_site: StartSite, mock_provider: MockProvider) -> None:
    issuer = mock_provider.issuer
    site = start_site(oidc_issuer=issuer, oidc_client_id="credits", oidc_audience="credits-api")
    kid = mock_provider.new_key()
    assert site.billing(mock_provider.token(kid, aud=["account", "credits-api"])).status_code == 200
    assert problem(site.billing(mock_provider.token(kid))) == (401, "invalid_token")


def _stranger() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


def _claims(mock_provider: MockProvider) -> dict[str, Any]:
    kid = mock_provider.new_key()
    return jwt.decode(mock_provider.token(kid), options={"verify_signature": False})


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _by_hand(header: dict[str, Any], claims: dict[str, Any], key: bytes | None) -> str:
    """Return a token that no library would sign: HMAC with any bytes, or nothing."""
    signed = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}"
    signature = b"" if key is None else hmac.digest(key, signed.encode(), "sha256")
    return f"{signed}.{_b64(signature)}"


def _unsigned(peer: MockProvider, kid: str) -> str:
    return _by_hand({"alg": "none", "typ": "JWT", "kid": kid}, _claims(peer), None)


def _hmac_with_public_pem(peer: MockProvider, kid: str) -> str:
    public = jwt.PyJWK(peer.public_key(kid)).key
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return _by_hand({"alg": "HS256", "typ": "JWT", "kid": kid}, _claims(peer), pem)


def _of_a_stranger(peer: MockProvider, kid: str, **headers: Any) -> str:
    return jwt.encode(_claims(peer), _stranger(), "RS256", headers={"kid": kid} | headers)


def _with_stranger_jwk(peer: MockProvider, kid: str) -> str:
    key = _stranger()
    public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return jwt.encode(_claims(peer), key, "RS256", headers={"kid": kid, "jwk": public})


def _tampered_claims(peer: MockProvider, kid: str) -> str:
    header, claims, signature = peer.token(kid).split(".")
    changed = json.loads(base64.urlsafe_b64decode(claims + "==")) | {"sub": "root"}
    return f"{header}.{_b64(json.dumps(changed).encode())}.{signature}"


def _tampered_signature(peer: MockProvider, kid: str) -> str:
    signed, _, signature = peer.token(kid).rpartition(".")
    return f"{signed}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


FORGED: dict[str, tuple[Callable[[MockProvider, str], str], str]] = {
    "69 alg none": (_unsigned, "invalid_token"),
    "70 HS256 with the public key": (_hmac_with_public_pem, "invalid_token"),
    "71 kid is a path": (
        lambda peer, _: _by_hand({"alg": "HS256", "kid": "../../../../dev/null"}, _claims(peer), b""),
        "invalid_token",
    ),
    "71 kid is a path, RS256": (lambda peer, _: _of_a_stranger(peer, "../../../etc/x"), "invalid_token"),
    "71 kid is SQL": (lambda peer, _: _of_a_stranger(peer, "' OR '1'='1"), "invalid_token"),
    "71 kid is empty": (lambda peer, _: _of_a_stranger(peer, ""), "invalid_token"),
    "71 kid is a number": (
        lambda peer, _: _by_hand({"alg": "RS256", "kid": 1}, _claims(peer), b"k"),
        "invalid_token",
    ),
    "71 no kid": (lambda peer, _: jwt.encode(_claims(peer), _stranger(), "RS256"), "invalid_token"),
    "71 kid of another's key": (_of_a_stranger, "invalid_token"),
    "72 jku of a stranger": (
        lambda peer, kid: _of_a_stranger(peer, kid, jku=f"{peer.issuer}/evil"),
        "invalid_token",
    ),
    "72 jku, well signed": (
        lambda peer, kid: peer.token(kid, header={"jku": f"{peer.issuer}/evil"}),
        "invalid_token",
    ),
    "72 x5u, well signed": (
        lambda peer, kid: peer.token(kid, header={"x5u": f"{peer.issuer}/evil"}),
        "invalid_token",
    ),
    "72 jwk of a stranger": (_with_stranger_jwk, "invalid_token"),
    "73 wrong aud": (lambda peer, kid: peer.token(kid, aud="account"), "invalid_token"),
    "73 no aud": (lambda peer, kid: peer.token(kid, aud=None), "invalid_token"),
    "74 wrong iss": (lambda peer, kid: peer.token(kid, iss=peer.issuer + "/"), "invalid_token"),
    "74 no iss": (lambda peer, kid: peer.token(kid, iss=None), "invalid_token"),
    "75 expired": (lambda peer, kid: peer.token(kid, expires_in=-90), "token_expired"),
    "75 not yet valid": (lambda peer, kid: peer.token(kid, nbf=4_000_000_000), "invalid_token"),
    "76 no exp": (lambda peer, kid: peer.token(kid, exp=None), "invalid_token"),
    "76 exp is text": (lambda peer, kid: peer.token(kid, exp="never"), "invalid_token"),
    "77 tampered claims": (_tampered_claims, "invalid_token"),
    "77 tampered signature": (_tampered_signature, "invalid_token"),
    "no sub": (lambda peer, kid: peer.token(kid, sub=None), "invalid_token"),
    "sub is a control character": (lambda peer, kid: peer.token(kid, sub="a\0"), "invalid_token"),
    "sub is too long": (lambda peer, kid: peer.token(kid, sub="a" * 256), "invalid_token"),
    "an id token": (lambda peer, kid: peer.token(kid, nonce="n"), "invalid_token"),
    "an id token of Keycloak": (lambda peer, kid: peer.token(kid, typ="ID"), "invalid_token"),
    "a logout token": (lambda peer, kid: peer.token(kid, header={"typ": "logout+jwt"}), "invalid_token"),
    "not JSON": (lambda _, __: "eyJh.e30.x", "invalid_token"),
    "dots": (lambda _, __: "..", "invalid_token"),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_tokens(site: Site, mock_provider: MockProvider, kid: str, name: str) -> None:
    assert site.billing(mock_provider.token(kid)).status_code == 200
    forge, code = FORGED[name]
    response = site.billing(forge(mock_provider, kid))
    assert problem(response) == (401, code)
    assert response.headers["www-authenticate"] == 'Bearer realm="credits", error="invalid_token"'
    assert mock_provider.requests("/evil") == 0


def test_clocks_may_differ_by_a_minute(site: Site, mock_provider: MockProvider) -> None:
    assert site.billing(mock_provider.token(mock_provider.new_key(), expires_in=-30)).status_code == 200
