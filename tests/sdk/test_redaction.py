"""Secrets do not leave the process in metadata; figures that only sound like secrets do."""

from typing import Any

import pytest

from credit_sdk import ValidationFailedError
from credit_sdk.operations import Deduct, parse
from credit_sdk.redaction import REDACTED, redact

SECRETS: list[Any] = [
    {"password": "hunter2"},
    {"passwords": ["hunter2"]},
    {"dbpassword": "hunter2", "authtoken": "abc"},
    {"api_keys": ["abc"], "secrets": {"a": "abc"}},
    {"cvv": 4242, "pin": 4242},
    {"sk_live_abcdefghijklmnop1234": "a key as a key"},
    {"apiKey": "abc"},
    {"API_KEY": "abc"},
    {"x-api-key": "abc"},
    {"session_token": "abc"},
    {"Authorization": "abc"},
    {"nested": [{"client_secret": {"deep": "abc"}}]},
    {"note": "Bearer abcdefghijklmnop"},
    {"note": "key is sk_live_abcdefghijklmnop1234"},
    {"note": "sk-proj-abcdefghijklmnop1234"},
    {"note": "ghp_abcdefghijklmnopqrstuvwxyz0123456789"},
    {"note": "AKIAIOSFODNN7EXAMPLE"},
    {"note": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"},
    {"url": "postgresql://user:hunter2@host/db"},
    {"card": "4242 4242 4242 4242"},
    {"card": 4242424242424242},
    {"pem": "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----"},
]
HARMLESS: list[Any] = [
    {"tokens_used": 1523, "max_tokens": 10, "token": 5},
    {"company_id": "c-42", "pages": 3, "ok": True, "nothing": None},
    {"order": "4242 4242 4242 4241"},
    {"timestamp_ns": 1763683200000000000},
    {"url": "https://ops.example/path?a=b"},
    {"monkey": "business", "keyboard": "qwerty", "spinner": "x", "description": "tokenised"},
]


@pytest.mark.parametrize("metadata", SECRETS, ids=str)
def test_secrets_are_redacted(metadata: Any) -> None:
    redacted = str(redact(metadata))
    assert REDACTED in redacted
    for secret in ("hunter2", "abcdefghijklmnop", "4242", "MIIB", "eyJ", "AKIA", "'abc'"):
        assert secret not in redacted


@pytest.mark.parametrize("metadata", HARMLESS, ids=str)
def test_figures_stay(metadata: Any) -> None:
    assert redact(metadata) == metadata


def deduct_with(metadata: Any) -> Deduct:
    fields = {"org_id": "acme", "user_id": "ada", "credits": 1, "service_type": "x"}
    return parse(Deduct, fields | {"request_metadata": metadata})


def nested(depth: int) -> Any:
    value: Any = "leaf"
    for _ in range(depth):
        value = {"a": value}
    return value


def test_metadata_within_bounds_is_kept() -> None:
    assert deduct_with(nested(8)).request_metadata == nested(8)
    assert deduct_with({"a": "x" * 16_000}).request_metadata == {"a": "x" * 16_000}
    assert deduct_with({"__proto__": {"admin": True}}).request_metadata == {"__proto__": {"admin": True}}


UNKEEPABLE: dict[str, Any] = {
    "too deep": nested(9),
    "far too deep": nested(5_000),
    "too large": {"a": "x" * 17_000},
    "U+0000 in a value": {"a": "nul\x00"},
    "U+0000 in a key": {"nul\x00": 1},
    "a lone surrogate": {"a": "\ud800"},
    "not a number": {"a": float("nan")},
    "not JSON": {"a": object()},
    "a key that is no string": {1: 2},
    "a string": "text",
    "a list": [1],
}


@pytest.mark.parametrize("metadata", UNKEEPABLE.values(), ids=UNKEEPABLE)
def test_metadata_that_cannot_be_kept_is_refused(metadata: Any) -> None:
    with pytest.raises(ValidationFailedError, match="request_metadata"):
        deduct_with(metadata)
