"""JSON as RFC 8259 has it: what Python's parser forgives is refused."""

from decimal import Decimal

import pytest

from credit_sdk.errors import MalformedRequestError, ValidationFailedError
from reference_server.strict_json import parse_object

MALFORMED = {
    "empty": b"",
    "blank": b" \n",
    "truncated": b'{"a": 1',
    "trailing garbage": b'{"a": 1} x',
    "two documents": b'{"a": 1}{"a": 2}',
    "single quotes": b"{'a': 1}",
    "comment": b'{"a": 1} // one',
    "trailing comma": b'{"a": 1,}',
    "not UTF-8": b'{"a": "\xff"}',
    "overlong UTF-8": b'{"a": "\xc0\xaf"}',
    "byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "UTF-16 without a mark": '{"a": 1}'.encode("utf-16-le"),
    "UTF-32": '{"a": 1}'.encode("utf-32"),
    "duplicate keys": b'{"a": 1, "a": 2}',
    "duplicate keys within": b'{"a": [{"b": 1, "b": 1}]}',
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": Infinity}',
    "minus Infinity": b'{"a": -Infinity}',
    "NaN in metadata": b'{"request_metadata": {"a": [NaN]}}',
    "1e400": b'{"a": 1e400}',
    "1e-400": b'{"a": 1e-400}',
    "1e400 in metadata": b'{"request_metadata": {"a": 1e400}}',
    "an exponent beyond Decimal": b'{"a": 1e99999999999999999999}',
    "a long exponent": b'{"a": 1e' + b"9" * 200 + b"}",
    "integer of 41 digits": b'{"a": ' + b"9" * 41 + b"}",
    "integer of 5,000 digits": b'{"a": ' + b"9" * 5_000 + b"}",
    "a control character": b'{"a": "\x01"}',
    "depth 9": b'{"a":' * 9 + b"1" + b"}" * 9,
    "depth 9 in arrays": b'{"a":' + b"[" * 8 + b"]" * 8 + b"}",
    "100,000 arrays": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 objects": b'{"a":' * 100_000,
    "100,000 arrays in metadata": b'{"request_metadata":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a constant of Python": b'{"a": None}',
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedRequestError):
        parse_object(body)


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"1.5", b"null", b"true"])
def test_another_root_is_invalid_rather_than_malformed(body: bytes) -> None:
    with pytest.raises(ValidationFailedError) as raised:
        parse_object(body)
    assert raised.value.errors[0]["type"] == "object_type"


def test_fractions_never_pass_through_a_binary_float() -> None:
    fields = parse_object(b'{"a": 0.10, "b": 1E2, "c": 12345678901234567890.123, "d": 5, "e": 5.0}')
    assert fields == {
        "a": Decimal("0.10"),
        "b": Decimal("1E2"),
        "c": Decimal("12345678901234567890.123"),
        "d": 5,
        "e": Decimal("5.0"),
    }
    assert isinstance(fields["d"], int)


def test_metadata_keeps_plain_numbers() -> None:
    fields = parse_object(b'{"request_metadata": {"cost": 0.05, "more": [{"n": 1.5}], "tokens": 7}}')
    assert fields == {"request_metadata": {"cost": 0.05, "more": [{"n": 1.5}], "tokens": 7}}
    assert isinstance(fields["request_metadata"]["cost"], float)


def test_depth_8_and_deep_metadata_are_read() -> None:
    parse_object(b'{"a":' * 8 + b"1" + b"}" * 8)
    parse_object(b'{"request_metadata":' + b"[" * 20 + b"]" * 20 + b"}")


def test_hostile_keys_are_plain_keys() -> None:
    assert parse_object(b'{"__proto__": {"a": 1}, "__class__": 2}') == {
        "__proto__": {"a": 1},
        "__class__": 2,
    }
