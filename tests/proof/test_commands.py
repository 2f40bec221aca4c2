"""`credits verify` and `credits receipt` as a person types them."""

import json
from pathlib import Path

import pytest

from tests.proof.conftest import ORG, Books, run

RENAME = "UPDATE credit_usage_attribution SET service_name = 'other' WHERE request_id = 'job-2'"


@pytest.fixture
def sealed(books: Books) -> Books:
    """Three charges, at 4 to 6 of the chain."""
    for number in range(1, 4):
        books.charge(f"job-{number}")
    books.seal()
    return books


def tamper(books: Books) -> None:
    books.owner.execute("SET session_replication_role = replica")
    books.owner.execute(RENAME.encode())
    books.owner.execute("SET session_replication_role = origin")


def test_verify_says_that_the_chains_fit(sealed: Books) -> None:
    found = run("verify", url=sealed.url)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.endswith("6 rows sealed, 0 waiting: the chains fit.\n")
    document = json.loads(run("verify", ORG, "--json", url=sealed.url).stdout)
    assert document["differences"] == []
    assert document["chain"] == {"entries": 6, "detached": 0, "waiting": 0, "breaks": []}


def test_verify_names_the_first_sequence_number_that_was_changed(sealed: Books) -> None:
    tamper(sealed)
    found = run("verify", url=sealed.url)
    assert found.returncode == 1
    assert "acme: the chain is broken at sequence number 5 (charge " in found.stdout
    assert found.stdout.endswith("the chains DO NOT fit.\n")


def test_a_receipt_is_printed_and_checked_without_the_books(sealed: Books, tmp_path: Path) -> None:
    printed = run("receipt", "job-2", "--org", ORG, url=sealed.url)
    assert (printed.returncode, printed.stderr) == (0, "")
    file = tmp_path / "receipt.json"
    file.write_text(printed.stdout)
    head = json.loads(printed.stdout)["head"]["digest"]
    without_head = run("receipt", "--check", file)
    with_head = run("receipt", "--check", file, "--head", head)
    assert (without_head.returncode, with_head.returncode) == (0, 0)
    assert f"sequence number 5 of acme, in a chain with the head {head} at 6" in without_head.stdout
    assert "the chain had the head that you gave" in with_head.stdout


def test_a_receipt_with_one_other_byte_is_refused_by_its_number(sealed: Books, tmp_path: Path) -> None:
    printed = run("receipt", "job-2", "--org", ORG, url=sealed.url).stdout
    file = tmp_path / "receipt.json"
    file.write_text(printed.replace('"credits_used": "10000"', '"credits_used": "10001"'))
    refused = run("receipt", "--check", file)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("credits: Broken at sequence number 5: ")
    assert refused.stderr.count("\n") == 1


def test_a_receipt_of_history_written_anew_has_not_the_noted_head(sealed: Books, tmp_path: Path) -> None:
    noted = json.loads(run("receipt", "job-2", "--org", ORG, url=sealed.url).stdout)["head"]["digest"]
    sealed.owner.execute("SET session_replication_role = replica")
    for statement in RENAME, "DELETE FROM ledger_chain", "DELETE FROM ledger_heads":
        sealed.owner.execute(statement.encode())
    sealed.seal()
    file = tmp_path / "receipt.json"
    file.write_text(run("receipt", "job-2", "--org", ORG, url=sealed.url).stdout)
    assert run("receipt", "--check", file).returncode == 0
    refused = run("receipt", "--check", file, "--head", noted)
    assert refused.returncode == 1
    assert f"the chain had not the head {noted}" in refused.stderr


def test_no_receipt_is_printed_of_a_row_that_was_changed(sealed: Books) -> None:
    tamper(sealed)
    refused = run("receipt", "job-2", "--org", ORG, url=sealed.url)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "sequence number 5" in refused.stderr


def test_a_charge_that_waits_to_be_sealed_says_what_to_do(books: Books) -> None:
    books.charge("job-1")
    waiting = run("receipt", "job-1", "--org", ORG, url=books.url)
    assert waiting.returncode == 1
    assert "`credits run-due`" in waiting.stderr
    assert run("run-due", url=books.url).stdout == "Done: entries sealed 4.\n"
    assert run("receipt", "job-1", "--org", ORG, url=books.url).returncode == 0


def test_a_chain_is_exported_and_checked_as_a_whole(sealed: Books, tmp_path: Path) -> None:
    whole, rest = tmp_path / "whole.jsonl", tmp_path / "rest.jsonl"
    written = run("verify", ORG, "--export", whole, url=sealed.url)
    assert written.returncode == 0, written.stderr
    assert written.stdout.startswith("The chain fits: 6 links of acme, ")
    assert run("verify", ORG, "--export", rest, "--after", "4", url=sealed.url).returncode == 0
    checked = json.loads(run("verify", "--check", rest, "--json").stdout)
    assert (checked["links"], checked["head"]["sequence"]) == (2, 6)
    assert run("verify", "--check", whole, "--head", checked["head"]["digest"]).returncode == 0
    whole.write_text(whole.read_text().replace("job-2", "job-9"))
    refused = run("verify", "--check", whole)
    assert refused.returncode == 1
    assert refused.stderr.startswith("credits: Broken at sequence number 5: ")


def test_an_earlier_head_says_how_far_it_vouches(sealed: Books, tmp_path: Path) -> None:
    file = tmp_path / "chain.jsonl"
    run("verify", ORG, "--export", file, url=sealed.url)
    noted = json.loads(file.read_text().splitlines()[5])
    checked = run("verify", "--check", file, "--head", noted["digest"])
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.endswith("It vouches for rows up to 5, not for those from 6 on.\n")
    assert (
        json.loads(run("verify", "--check", file, "--json", "--head", noted["digest"]).stdout)["vouched"] == 5
    )
    last = json.loads(file.read_text().splitlines()[6])["digest"]
    assert "vouches" not in run("verify", "--check", file, "--head", last).stdout


def test_the_export_of_a_row_that_was_changed_names_it(sealed: Books, tmp_path: Path) -> None:
    tamper(sealed)
    refused = run("verify", ORG, "--export", tmp_path / "chain.jsonl", url=sealed.url)
    assert refused.returncode == 1
    assert "sequence number 5" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["receipt"], 2, "name a charge and its --org"),
        (["receipt", "job-1", "--check", "x"], 2, "not both"),
        (["receipt", "--check", "nowhere.json"], 1, "nowhere.json cannot be used"),
        (["verify", "--check", "nowhere.json"], 1, "nowhere.json cannot be used"),
        (["verify", "--check", "nowhere.json", "--head", "abc"], 2, "64 hexadecimal digits"),
    ],
)  # fmt: skip
def test_wrong_usage_is_explained(arguments: list[str], code: int, sentence: str) -> None:
    refused = run(*arguments)
    assert refused.returncode == code
    assert sentence in " ".join(refused.stderr.split())
