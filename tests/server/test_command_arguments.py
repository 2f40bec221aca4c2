"""Commands on a database refuse what the API would refuse, in one line that names the argument."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.server.conftest import Command, Running

NOT_UTF_8 = "caf\udce9"
"""What Python makes of bytes that are no UTF-8."""
BLANK = "   "
PERSON = ("user", "create", "bad@acme.example")
ORGANIZATION = ("organization", "create", "bad-arguments")
PACKAGE = ("packages", "add", "--credits", "10", "--price-cents", "100", "--id")
APP = ("token", "register-app")
READS = ("--permission", "read_credits")
KEY = ("token", "create-key", "--scope", "read_credits", "--name")
TOP_UP = ("payments", "top-up", "--monthly-cents", "4000", "--below", "5", "--user")


def is_one_line(answer: tuple[int, str, str], words: str) -> bool:
    code, out, err = answer
    return (code, out, err.count("\n")) == (1, "", 1) and err.startswith(f"credits: {words}: ")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        *(((*PERSON, "--id", bad), "--id") for bad in ("", BLANK, "a\nb", "é", NOT_UTF_8, "x" * 256)),
        *(((*PERSON, "--name", bad), "--name") for bad in ("", BLANK, "a\nb", NOT_UTF_8, "x" * 256)),
        *(
            (("user", "create", bad), "EMAIL")
            for bad in ("@", "a@", "@b", "a@b\n", "a b@c", "a@b@c", f"{NOT_UTF_8}@x", "x" * 320 + "@x")
        ),
        *((("user", "set-password", bad), "EMAIL") for bad in ("", NOT_UTF_8, "x" * 321)),
        *(((*ORGANIZATION, "--name", bad), "--name") for bad in ("", BLANK, "a\nb", NOT_UTF_8, "x" * 256)),
        *(((*PACKAGE, "bad", "--name", bad), "--name") for bad in ("", BLANK, NOT_UTF_8, "x" * 256)),
        ((*PACKAGE, "bad", "--name", "A", "--description", NOT_UTF_8), "--description"),
        *(
            ((*PACKAGE, "bad", "--name", "A", "--price-id", bad), "--price-id")
            for bad in ("", "p q", "x" * 256)
        ),
        *(((*APP, bad, "--name", "A", *READS), "APP_ID") for bad in ("", "my app", NOT_UTF_8, "x" * 101)),
        *(((*APP, "bad", "--name", bad, *READS), "--name") for bad in (BLANK, NOT_UTF_8, "x" * 256)),
        *(((*APP, "bad", "--name", "A", *READS, "--domain", bad), "--domain") for bad in (BLANK, "x" * 256)),
        *(((*KEY, bad), "--name") for bad in (BLANK, NOT_UTF_8, "x" * 256)),
        *(((*KEY, "A", "--org", bad), "--org") for bad in ("", NOT_UTF_8, "x" * 37)),
        *(
            (("token", "create-session", "--system-admin", "--user", bad), "--user")
            for bad in ("", BLANK, "é")
        ),
        ((*TOP_UP, NOT_UTF_8, "--package", "p", "--payment-method", "pm_x"), "--user"),
        ((*TOP_UP, "u", "--package", "a b", "--payment-method", "pm_x"), "--package"),
        ((*TOP_UP, "u", "--package", "p", "--payment-method", "4242 4242"), "--payment-method"),
        *((("cells", "add", "bad", bad), "NAME") for bad in (BLANK, NOT_UTF_8, "x" * 256)),
        *((("cells", "add", bad, "A"), "ORG_ID") for bad in ("", BLANK, "x" * 37)),
    ],
    ids=lambda part: ascii(part)[:80],
)
def test_what_no_request_could_say_is_refused(
    command: Command,
    server: Running,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    named: str,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("a password\n"))
    assert is_one_line(command(*arguments, "--url", server.database_url), named)


def test_an_organisation_that_nobody_could_ask_for_is_not_exported(
    command: Command, server: Running, tmp_path: object
) -> None:
    code, _, err = command("export", NOT_UTF_8, f"{tmp_path}/books", "--url", server.database_url)
    assert (code, err.count("\n")) == (1, 1)


def test_a_password_that_is_no_text_is_refused(
    command: Command, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a p\xe9ssword\n"), encoding="utf-8"))
    answer = command("user", "set-password", "nobody@acme.example", "--url", server.database_url)
    assert answer == (1, "", "credits: The password must be text in UTF-8.\n")


def test_names_of_all_languages_are_kept(command: Command, server: Running) -> None:
    there = ("--url", server.database_url)
    email = "zoé.o'hara@münchen.example"
    assert command("user", "create", email, "--name", "Zoé O\N{NO-BREAK SPACE}Hara 李", *there)[0] == 0
    code, _, err = command("user", "create", email, *there)
    assert (code, "already" in err) == (1, True)
