"""`credits reconcile` as a person types it: planted differences, malformed rows, corrections."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from credit_sdk import Account, CreditDeductionService, Retries, UnavailableError
from credit_sdk.cli._records import Malformed, RecordFile
from credit_sdk.operations import CaptureHold
from tests.outbox.conftest import Fault
from tests.proof.conftest import ORG, Books, run

if TYPE_CHECKING:
    from pathlib import Path

    from credit_sdk.reconciliation import Recorded

    Row = dict[str, Any]

HEADER = "request_id,org_id,user_id,service_type,credits,status"
RIGHT = "10 recorded, 10 charged: 0 missing, 0 extra, 0 different, 0 duplicate, 0 waiting.\n"
PLANTED = "1 missing, 1 extra, 3 different, 1 duplicate, 0 waiting"


def row(number: int, credits: str = "10", user_id: str = "ada", status: str = "done", **more: str) -> str:
    service_type = more.get("service_type", "valuation")
    return f"job-{number},{ORG},{user_id},{service_type},{credits},{status}"


def write(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows, ""]))
    return path


@pytest.fixture
def charged(books: Books) -> Books:
    """Ten charges of 10 credits, job-0 to job-9."""
    for number in range(10):
        books.charge(f"job-{number}")
    return books


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """The record of those charges."""
    return write(tmp_path / "record.csv", *map(row, range(10)))


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A record in which six things are not as they were charged."""
    kept = [row(number) for number in range(5, 10)]
    return write(
        tmp_path / "record.csv",
        row(1, credits="8.5"),
        row(2, user_id="bob"),
        row(3, credits="12"),
        row(4),
        *kept,
        row(4),
        row(11, status="FAILED"),
        row(12, credits="7", user_id="bob"),
    )


def test_a_record_that_fits_is_said_to(charged: Books, record: Path) -> None:
    found = run("reconcile", record, url=charged.url)
    assert (found.returncode, found.stdout, found.stderr) == (0, RIGHT, "")


def test_what_was_planted_is_listed_and_nothing_is_changed(charged: Books, planted: Path) -> None:
    before = charged.charged()
    found = run("reconcile", planted, url=charged.url)
    assert (found.returncode, found.stderr) == (1, "")
    lines = {line.split()[2]: line for line in found.stdout.splitlines() if "  acme  " in line}
    assert lines["job-0"].startswith("extra ")
    assert "line 2: 8.5 credits of ada for valuation; charged: 10 credits of ada" in lines["job-1"]
    assert "line 3: 10 credits of bob" in lines["job-2"]
    assert lines["job-4"] == "duplicate  acme  job-4  lines 5, 11 are all done"
    assert lines["job-12"].endswith("line 13: 7 credits of bob for valuation")
    assert f"12 recorded, 10 charged: {PLANTED}." in found.stdout
    assert "would charge 7 credits of bob under job-12" in found.stdout
    assert "Nothing was changed; --apply carries 7 corrections out." in found.stdout
    assert charged.charged() == before


def test_corrections_are_carried_out_once(charged: Books, planted: Path) -> None:
    first = run("reconcile", planted, "--apply", "--refund-unknown", url=charged.url)
    # The duplicate is the record's, so it is left.
    assert first.returncode == 1
    assert PLANTED in first.stdout
    assert first.stdout.count("not corrected") == 1
    after = charged.charged()
    wanted = {"job-0": 0, "job-1": "8.5", "job-2": 0, "job-3": 0, "job-12": 7}
    corrected = {"job-2~corrected1": 10, "job-3~corrected1": 12}
    assert after == {f"job-{number}": Decimal(10) for number in range(10)} | {
        request_id: Decimal(credits) for request_id, credits in (wanted | corrected).items()
    }
    again = run("reconcile", planted, "--apply", url=charged.url)
    assert "0 missing, 0 extra, 0 different, 1 duplicate" in again.stdout
    assert charged.charged() == after
    assert run("verify", url=charged.url).returncode == 0


def test_what_another_application_charged_is_left_alone(charged: Books, tmp_path: Path) -> None:
    """It is for a service that this record does not name; --service decides where that does not."""
    charged.charge("theirs", service_type="market_analysis")
    record = write(tmp_path / "record.csv", *map(row, range(10)))
    assert run("reconcile", record, "--apply", "--refund-unknown", url=charged.url).stdout.endswith(
        "10 recorded, 11 charged: 0 missing, 0 extra, 0 different, 0 duplicate, 0 waiting.\n"
    )
    both = ("--service", "valuation", "--service", "market_analysis")
    found = run("reconcile", record, *both, url=charged.url)
    assert (found.returncode, found.stdout.count("extra  ")) == (1, 1)
    assert charged.charged()["theirs"] == 10


def test_what_the_record_does_not_know_is_given_back_only_if_told(charged: Books, tmp_path: Path) -> None:
    record = write(tmp_path / "record.csv", *map(row, range(9)))
    applied = run("reconcile", record, "--apply", url=charged.url)
    assert applied.returncode == 1
    assert "not corrected: the record does not know it; --refund-unknown gives it back" in applied.stdout
    assert charged.charged()["job-9"] == 10
    assert run("reconcile", record, "--apply", "--refund-unknown", url=charged.url).returncode == 0
    assert charged.charged()["job-9"] == 0


def test_everything_that_can_be_corrected_ends_well(charged: Books, tmp_path: Path) -> None:
    record = write(tmp_path / "record.csv", *map(row, range(12)))
    assert run("reconcile", record, url=charged.url).returncode == 1
    applied = run("reconcile", record, "--apply", url=charged.url)
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert run("reconcile", record, url=charged.url).returncode == 0


def test_a_correction_that_is_refused_is_said_and_the_others_are_carried_out(
    charged: Books, tmp_path: Path
) -> None:
    record = write(tmp_path / "record.csv", *map(row, range(10)), row(10, credits="5000"), row(11))
    applied = run("reconcile", record, "--apply", url=charged.url)
    assert applied.returncode == 1
    assert applied.stdout.count("not corrected: Insufficient credits") == 1
    assert charged.charged()["job-11"] == 10


def test_json_has_the_same_for_programs(charged: Books, planted: Path) -> None:
    found = run("reconcile", planted, "--json", url=charged.url)
    assert found.returncode == 1
    document = json.loads(found.stdout)
    assert document["counts"] == {
        "recorded": 12, "charged": 10, "missing": 1, "extra": 1, "different": 3, "duplicate": 1, "waiting": 0,
    }  # fmt: skip
    by_id = {each["request_id"]: each for each in document["findings"]}
    assert [each["operation"] for each in by_id["job-3"]["corrections"]] == ["Refund", "Deduct"]
    assert by_id["job-1"]["fields"] == ["credits"]
    assert by_id["job-1"]["corrections"][0]["credits"] == 1.5
    assert by_id["job-12"]["recorded"][0]["line"] == 13
    nothing = run("reconcile", planted, "--json", "--since", "2999-01-01T00:00Z", url=charged.url)
    assert json.loads(nothing.stdout)["counts"]["extra"] == 0


def test_columns_and_words_of_the_application(charged: Books, tmp_path: Path) -> None:
    rows = [
        {"job": f"job-{number}", "who": "ada", "what": "valuation", "price": 10.0, "state": "Printed", "x": 1}
        for number in range(10)
    ]
    file = tmp_path / "record.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    columns = ["request_id=job", "user_id=who", "service_type=what", "credits=price", "status=state"]
    options = [argument for column in columns for argument in ("--column", column)]
    found = run("reconcile", file, "--org", ORG, "--done", "printed", *options, url=charged.url)
    assert (found.returncode, found.stdout) == (0, RIGHT), found.stderr


def test_what_waits_in_the_outbox_is_not_missing(charged: Books, tmp_path: Path, record: Path) -> None:
    outbox = tmp_path / "outbox.sqlite3"
    retries = Retries(attempts=1)
    with CreditDeductionService(charged.url, outbox=outbox, retries=retries) as billing:
        Fault(billing, CaptureHold, error=UnavailableError("The books are away."), after=False)
        ada = Account(org_id=ORG, user_id="ada")
        with billing.charge(ada, 10, service_type="valuation", request_id="job-10"):
            pass
    write(record, *map(row, range(11)))
    assert "1 missing" in run("reconcile", record, url=charged.url).stdout
    found = run("reconcile", record, "--outbox", outbox, "--apply", url=charged.url)
    assert found.returncode == 0
    assert "waiting    acme  job-10" in found.stdout
    assert "0 missing, 0 extra, 0 different, 0 duplicate, 1 waiting." in found.stdout


def test_charges_before_and_after_the_record_are_not_extra(charged: Books, tmp_path: Path) -> None:
    charges = charged.owner.execute(
        "SELECT request_id, created_at FROM credit_usage_attribution ORDER BY created_at"
    ).fetchall()
    some = charges[3:7]
    rows = [f"{request_id},acme,ada,valuation,10,{moment.isoformat()}" for request_id, moment in some]
    header = "request_id,org_id,user_id,service_type,credits,time"
    record = write(tmp_path / "record.csv", *rows, header=header)
    assert run("reconcile", record, url=charged.url).returncode == 0
    whole = run("reconcile", record, "--since", charges[1][1].isoformat(), url=charged.url)
    assert (whole.returncode, whole.stdout.count("extra  ")) == (1, 2)


def test_malformed_rows_are_named_and_nothing_is_compared(charged: Books, tmp_path: Path) -> None:
    record = write(
        tmp_path / "record.csv",
        row(1),
        row(2, credits="1.2345"),
        '"job-3\n",acme,ada,valuation,10,done',
        row(4, status="whatever"),
        "job-5,acme",
    )
    before = charged.charged()
    found = run("reconcile", record, "--apply", url=charged.url)
    assert found.returncode == 1
    named = [line.partition("line ")[2].partition(":")[0] for line in found.stdout.splitlines()]
    assert named == ["3", "4", "6", "7"]
    assert "line 3: credits must have at most 3 decimals, but is 1.2345" in found.stdout
    assert found.stderr.endswith("cannot be read, the first in line 3; nothing was compared.\n")
    assert charged.charged() == before


MALFORMED = {
    "record.csv": {
        f"{HEADER}\n\njob,acme,ada,valuation,10,done,more\n": [(3, "7 columns")],
        f'{HEADER}\n{row(1)}\n"job-2,acme': [(3, "it is no CSV")],
        f"{HEADER}\n{row(1, credits='')}\n": [(2, "credits: Field required")],
        f"{HEADER}\n{row(1, credits='nan')}\n{row(2, credits='-1')}\n": [
            (2, "plain number"),
            (3, "negative"),
        ],
        f"{HEADER}\njob 1 ,acme,ada,valuation,10,done\n": [(2, "request_id")],
        f"{HEADER}\njob-\udcff,acme,ada,valuation,10,done\n": [(2, "request_id")],
    },
    "record.jsonl": {
        '\n{"request_id": 1\n': [(2, "it is no JSON")],
        "[]\n3\n": [(1, "it is no JSON object"), (2, "it is no JSON object")],
        '{"request_id": true, "credits": 1}\n': [(1, "request_id")],
        '{"request_id": "a", "user_id": "b", "service_type": "c", "org_id": "d", "credits": NaN}\n': [
            (1, "NaN is no number")
        ],
        '{"request_id": "a", "user_id": "b", "service_type": "c", "org_id": "d", "credits": 0.0001}\n': [
            (1, "3 decimals")
        ],
        '{"request_id": "a", "user_id": "b", "service_type": "c", "org_id": "d", "credits": 1, "time":'
        ' "2027-01-01"}\n': [(1, "time")],
    },
}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        pytest.param(name, text, expected, id=f"{name} {number}")
        for name, cases in MALFORMED.items()
        for number, (text, expected) in enumerate(cases.items(), start=1)
    ],
)
def test_rows_that_cannot_be_read(
    tmp_path: Path, name: str, text: str, expected: list[tuple[int, str]]
) -> None:
    file = tmp_path / name
    file.write_text(text, errors="surrogateescape")
    found = [each for each in RecordFile(file).rows() if isinstance(each, Malformed)]
    assert [each.line for each in found] == [line for line, _ in expected]
    for each, (_, reason) in zip(found, expected, strict=True):
        assert reason in each.reason


def test_rows_that_can_be_read(tmp_path: Path) -> None:
    table = tmp_path / "record.csv"
    text = f'{HEADER}\r\n"job ""1""",acme,ada,valuation,0.050,\r\njob-2,acme,ada,valuation,0,Error\r\n'
    table.write_bytes(b"\xef\xbb\xbf" + text.encode())
    lines = tmp_path / "record.ndjson"
    fields = {"request_id": 7, "org_id": "acme", "user_id": 123, "service_type": "s", "credits": "5"}
    more = {"time": "2027-01-01T00:00:00Z", "status": None, "other": {}}
    lines.write_text(json.dumps(fields | more) + "\n\n")

    def read(file: Path) -> list[Recorded | Malformed]:
        return list(RecordFile(file).rows())

    def shown(each: Any) -> tuple[Any, ...]:
        return each.request_id, each.user_id, each.credits, each.is_done, each.line

    assert [shown(each) for each in read(table)] == [
        ('job "1"', "ada", Decimal("0.05"), True, 2),
        ("job-2", "ada", Decimal(0), False, 3),
    ]
    assert [shown(each) for each in read(lines)] == [("7", "123", Decimal(5), True, 1)]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["nowhere.csv"], 1, "nowhere.csv cannot be read"),
        (["record.txt"], 1, "record.txt is neither .csv nor .jsonl"),
        (["x.csv", "--column", "price=credits"], 2, "is not OURS=THEIRS"),
        (["x.csv", "--since", "yesterday"], 2, "no date and time in ISO 8601"),
        (["x.csv", "--until", "2027-01-01"], 2, "with a zone"),
    ],
)
def test_wrong_usage_is_explained(arguments: list[str], code: int, sentence: str) -> None:
    refused = run("reconcile", *arguments, url="postgresql://nobody@127.0.0.1:1/nowhere")
    assert refused.returncode == code
    assert sentence in " ".join(refused.stderr.replace("│", " ").split())


def test_a_column_that_is_not_there_is_named(charged: Books, tmp_path: Path) -> None:
    record = write(tmp_path / "record.csv", header="request_id,user_id,service_type,price")
    refused = run("reconcile", record, "--org", ORG, url=charged.url)
    assert refused.returncode == 1
    assert "line 1: there is no column 'credits'; name it with --column credits=NAME." in refused.stderr
