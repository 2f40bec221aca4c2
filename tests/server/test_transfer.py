"""One organisation out of a database and into another: everything, exactly, or nothing."""

from __future__ import annotations

import io
import json
import re
import stat
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from credit_sdk import Account, CreditDeductionService
from credit_sdk.errors import NotAMemberError
from credit_sdk.operations import AddCredits, Allocate, CreateSubscription, Seal, SetCap
from reference_server.credentials import create_api_key, digest
from reference_server.transfer.exporting import export_organization
from reference_server.transfer.importing import import_organization
from reference_server.transfer.lines import TransferError
from reference_server.transfer.tables import LEFT_OUT, sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import MakeDatabase
    from tests.server.conftest import Command

    Connection = psycopg.Connection[tuple[Any, ...]]

ORG = "acme"
ANN = Account(org_id=ORG, user_id="ann")


def open_books(url: str, org_id: str) -> None:
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("INSERT INTO organizations (id, name, slug) VALUES (%s, %s, %s)", [org_id] * 3)
        owner.execute("INSERT INTO organization_members (org_id, user_id) VALUES (%s, 'ann')", [org_id])


def put_details_away(url: str, org_id: str) -> None:
    """Archive what is sealed, as if it had been for long."""
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("UPDATE ledger_heads SET settled_before = ledger.now() WHERE org_id = %s", [org_id])
        owner.execute("SELECT ledger.archive(ledger.now())")


def set_alerts(owner: Connection, org_id: str) -> None:
    """Give an organisation a rule, an alert, and a webhook that is to tell of it."""
    owner.execute(
        """
        WITH alert AS (
          INSERT INTO credit_alerts (org_id, kind, threshold, value)
          VALUES (%(org_id)s, 'pool.low', 500000, 400000) RETURNING id
        ), endpoint AS (
          INSERT INTO webhook_endpoints (org_id, url, events, secret, request_id)
          VALUES (%(org_id)s, 'https://acme.example/credits', '{pool.low}', 'whsec_', 'one') RETURNING id
        ), rule AS (
          INSERT INTO alert_rules (org_id, kind, threshold) VALUES (%(org_id)s, 'pool.low', 500000)
        )
        INSERT INTO webhook_deliveries (org_id, endpoint_id, alert_id, event, payload)
        SELECT %(org_id)s, endpoint.id, alert.id, 'pool.low', '{}' FROM endpoint, alert
        """,
        {"org_id": org_id},
    )


def furnish(url: str, org_id: str) -> str:
    """Give an organisation something in every table; return its API key."""
    open_books(url, org_id)
    account = Account(org_id=org_id, user_id="ann")
    with CreditDeductionService(url, outbox=False) as billing:
        billing.execute(CreateSubscription(org_id=org_id, subscription_plan="platform"))
        billing.execute(AddCredits(org_id=org_id, credits=Decimal("1000.125")))
        billing.execute(AddCredits(org_id=org_id, credits=Decimal(7), expires_in_days=30))
        billing.execute(Allocate(org_id=org_id, user_id="ann", allocated_credits=Decimal(500)))
        billing.execute(SetCap(org_id=org_id, scope="organization", period="month", credits=Decimal(400)))
        charge = billing.deduct(
            account, 50, service_type="enrichment", request_id="first", metadata={"price": 1.10, "a": "é"}
        )
        billing.refund(charge, 10, request_id="back")
        billing.capture(billing.hold(account, 20, service_type="lookup", request_id="done"), 15)
        billing.void(billing.hold(account, 20, service_type="lookup", request_id="void"))
        billing.execute(Seal())
        put_details_away(url, org_id)
        held = billing.hold(account, 30, service_type="lookup", request_id="open")
        billing.extend(held, credits=5)
        billing.deduct(account, 1, service_type="late", request_id="not sealed")
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(
            "INSERT INTO llm_provider_keys (org_id, provider, sealed, hint, updated_by)"
            " VALUES (%s, 'openai', '\\x00ff', 'abcd', 'ann')",
            [org_id],
        )
        set_alerts(owner, org_id)
        return create_api_key(owner, "key", ["consume_credits"], org_id=org_id)


@pytest.fixture
def key(database_url: str) -> str:
    """The API key of an organisation that has something in every table, beside another such one."""
    furnish(database_url, "other")
    return furnish(database_url, ORG)


@pytest.fixture
def target_url(make_database: MakeDatabase, migrated_template: str) -> str:
    return make_database(migrated_template)


@pytest.fixture
def source(database_url: str, key: str) -> Iterator[Connection]:
    assert key
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def target(target_url: str) -> Iterator[Connection]:
    with psycopg.connect(target_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def archive(source: Connection) -> str:
    file = io.StringIO()
    export_organization(source, ORG, file)
    return file.getvalue()


def bring_in(target: Connection, archive: str) -> None:
    import_organization(target, io.StringIO(archive))


def counts(connection: Connection) -> dict[str, int]:
    """How many rows every table with an `org_id` has."""
    return {
        source.name: connection.execute(f"SELECT count(*) FROM {source.name}").fetchall()[0][0]  # noqa: S608
        for source in sources(connection)
    }


def test_everything_arrives_exactly(source: Connection, target: Connection, archive: str) -> None:
    org_id, contents = import_organization(target, io.StringIO(archive))
    assert org_id == ORG
    # Nothing is shown about a table that was empty.
    assert [name for name, table in contents.tables.items() if not table.rows] == []
    again = io.StringIO()
    export_organization(target, ORG, again)

    def audited(text: str) -> tuple[set[str], list[str]]:
        """The rows of the audit, which the import adds to, and all others."""
        rows = text.splitlines()[1:-1]
        own = {row for row in rows if '"audit_log"' in row}
        return own, [row for row in rows if row not in own]

    before, after = audited(archive), audited(again.getvalue())
    assert after[1] == before[1]
    assert after[0] > before[0]
    query = "SELECT sealed, settled_before::text FROM llm_provider_keys JOIN ledger_heads USING (org_id)"
    assert target.execute(query).fetchall() == source.execute(query + " WHERE org_id = %s", [ORG]).fetchall()


def test_what_the_database_notes_about_it_is_the_imports(target: Connection, archive: str) -> None:
    bring_in(target, archive)
    actions = "SELECT DISTINCT action FROM audit_log WHERE actor = 'import' AND actor_kind = 'system'"
    assert ("organization.created",) in target.execute(actions).fetchall()


@pytest.mark.usefixtures("archive")
def test_it_goes_on_where_it_was(target: Connection, target_url: str, archive: str, key: str) -> None:
    bring_in(target, archive)
    with CreditDeductionService(target_url, outbox=False) as billing:
        assert billing.deduct(ANN, 50, service_type="enrichment", request_id="first", metadata={
            "price": 1.10, "a": "é",
        }).replayed  # fmt: skip
        hold = billing.hold(ANN, 30, service_type="lookup", request_id="open")
        assert hold.replayed
        assert billing.capture(hold).credits_used == 35
        billing.execute(Seal(org_id=ORG))
    [[verified]] = target.execute("SELECT ledger.verify_ledger()").fetchall()
    [[chain]] = target.execute("SELECT ledger.verify_chain()").fetchall()
    assert (verified["differences"], chain["breaks"], chain["waiting"]) == ([], [], 0)
    assert chain["entries"] > 5
    known = target.execute("SELECT org_id FROM api_keys WHERE key_digest = %s", [digest(key)]).fetchall()
    assert known == [(ORG,)]
    with CreditDeductionService(target_url, outbox=False) as billing, pytest.raises(NotAMemberError):
        billing.check(Account(org_id="other", user_id="ann"), 1)


def test_an_import_overwrites_nothing(source: Connection, target: Connection, archive: str) -> None:
    bring_in(target, archive)
    before = counts(target)
    with pytest.raises(TransferError, match=r"'acme' is in this database already"):
        bring_in(target, archive)
    assert counts(target) == before
    with pytest.raises(TransferError, match=r"already"):
        bring_in(source, archive)


def test_a_name_that_is_anothers_is_refused(target: Connection, archive: str) -> None:
    target.execute("INSERT INTO organizations (id, name) VALUES ('someone', %s)", [ORG])
    with pytest.raises(TransferError, match=r"another's here already: .*organizations_name_key"):
        bring_in(target, archive)


def _without(table: str) -> Callable[[list[str]], list[str]]:
    return lambda lines: [line for line in lines if f'"table": "{table}"' not in line]


def _line_of(lines: list[str], table: str) -> int:
    return next(number for number, line in enumerate(lines) if f'"{table}"' in line)


def _changed(table: str, column: str, value: object) -> Callable[[list[str]], list[str]]:
    def change(lines: list[str]) -> list[str]:
        number = _line_of(lines, table)
        document = json.loads(lines[number])
        document["row"][column] = value
        return [*lines[:number], json.dumps(document) + "\n", *lines[number + 1 :]]

    return change


def _twice(table: str) -> Callable[[list[str]], list[str]]:
    def repeat(lines: list[str]) -> list[str]:
        number = _line_of(lines, table)
        return [*lines[: number + 1], *lines[number:]]

    return repeat


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda _: [], "The first line cannot be read.*Is this one of its files"),
        (lambda lines: lines[1:], "The first line cannot be read"),
        (lambda lines: lines[:-1], "has no end"),
        (lambda lines: [*lines, *lines[-2:]], "something behind it"),
        (lambda lines: [*lines[:-2], lines[-2][:40]], "no JSON"),
        (_without("credit_hold_extensions"), "credit_hold_extensions has 0 rows"),
        (_without("organizations"), "does not fit the books"),
        (_without("credit_pools"), "does not fit the books"),
        (_twice("audit_log"), "another's here already: audit_log"),
        (_changed("credit_pools", "total_credits", 10**12), "credit_pools has 1 rows"),
        (_changed("credit_pools", "org_id", "other"), "another organisation's"),
        (_changed("organizations", "id", "other"), "another organisation's"),
        (_changed("credit_pools", "total_credits", "a lot"), "does not fit the books"),
        (lambda lines: [lines[0], '{"table": "users", "row": {"id": 1}}\n', *lines[1:]], "'users'"),
        (lambda lines: [lines[0], '{"table": "users", "row": 1}\n', *lines[1:]], "Line 2 is not as"),
        (
            lambda lines: [lines[0].replace('"schema_version":', '"schema_version":9'), *lines[1:]],
            "install a credit-sdk as new as the one that wrote the file",
        ),
        (
            lambda lines: [re.sub('"schema_version": ?[0-9]+', '"schema_version":1', lines[0]), *lines[1:]],
            "on the database that the file came from",
        ),
    ],
    ids=[
        "empty",
        "no beginning",
        "no end",
        "more behind the end",
        "cut off",
        "a row less",
        "no organisation",
        "no pool",
        "a row twice",
        "a changed amount",
        "a stranger's row",
        "a stranger",
        "no number",
        "a table of everybody",
        "no row",
        "a newer version",
        "an older version",
    ],
)
def test_a_damaged_file_changes_nothing(
    target: Connection, archive: str, damage: Callable[[list[str]], list[str]], complaint: str
) -> None:
    damaged = damage(archive.splitlines(keepends=True))
    with pytest.raises(TransferError, match=complaint):
        import_organization(target, damaged)
    assert set(counts(target).values()) == {0}


def test_books_that_do_not_agree_are_not_brought_in(source: Connection, target: Connection) -> None:
    source.execute("UPDATE user_credit_allocations SET used_credits = used_credits + 1 WHERE org_id = 'acme'")
    file = io.StringIO()
    export_organization(source, ORG, file)
    with pytest.raises(TransferError, match=r"books of the file do not agree: .* user ann is 56001"):
        bring_in(target, file.getvalue())
    assert set(counts(target).values()) == {0}


def test_an_export_is_of_one_moment(source: Connection, database_url: str, target: Connection) -> None:
    """Charges go on while it is written, and stand in it altogether or not at all."""
    taken: list[int] = []
    going_on, enough = threading.Event(), threading.Event()

    def charge() -> None:
        with CreditDeductionService(database_url, outbox=False) as billing:
            while not enough.is_set():
                billing.deduct(ANN, "0.001", service_type="load")
                taken.append(1)
                going_on.set()

    class Slow(io.StringIO):
        """Waits for another charge before each row."""

        def write(self, text: str) -> int:
            going_on.clear()
            assert going_on.wait(60)
            return super().write(text)

    charging = threading.Thread(target=charge)
    charging.start()
    file = Slow()
    try:
        export_organization(source, ORG, file)
    finally:
        enough.set()
        charging.join()
    bring_in(target, file.getvalue())
    count = "SELECT count(*) FROM credit_usage_attribution WHERE service_type = 'load'"
    [[exported]] = target.execute(count).fetchall()
    assert 0 <= exported < len(taken)


def test_the_commands(command: Command, database_url: str, key: str, target_url: str, tmp_path: Path) -> None:
    assert key
    file = tmp_path / "acme.jsonl"
    code, out, err = command("export", ORG, str(file), "--database-url", database_url)
    assert (code, err) == (0, "")
    assert out.startswith("Exported acme: ")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]
    written = file.read_bytes()
    code, out, err = command("export", ORG, str(file), "--database-url", database_url)
    assert (code, out, err) == (1, "", f"credits: {file} is there already; --force replaces it.\n")
    assert file.read_bytes() == written
    assert command("export", ORG, str(file), "--force", "--database-url", database_url)[0] == 0
    code, out, _ = command("import", str(file), "--json", DATABASE_URL=target_url)
    document = json.loads(out)
    assert (code, document["org_id"], document["tables"]["credit_pools"]["rows"]) == (0, ORG, 1)
    assert document["head"]["sequence"] > 0
    assert command("verify", ORG, DATABASE_URL=target_url)[0] == 0


def test_what_cannot_be_done_is_said_in_one_line(
    command: Command, database_url: str, application_url: str, target_url: str, tmp_path: Path
) -> None:
    open_books(database_url, ORG)
    file, binary = tmp_path / "books", tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    cases = [
        (["export", "nobody", str(file)], database_url, "no organisation 'nobody'"),
        (["export", ORG, str(file)], application_url, "role that owns the tables"),
        (["export", ORG, str(tmp_path / "missing" / "books")], database_url, "missing"),
        (["import", str(file)], target_url, "There is no file"),
        (["import", str(binary)], target_url, "is no text"),
    ]
    for arguments, url, words in cases:
        code, out, err = command(*arguments, DATABASE_URL=url)
        assert (code, out, len(err.splitlines())) == (1, "", 1)
        assert words in err
        assert list(tmp_path.iterdir()) == [binary]


def test_a_database_without_the_schema_is_told_to_migrate(make_database: MakeDatabase) -> None:
    with (
        psycopg.connect(make_database(), autocommit=True) as empty,
        pytest.raises(TransferError, match=r"credits migrate"),
    ):
        export_organization(empty, ORG, io.StringIO())


def test_every_table_with_an_organisation_is_exported_or_has_a_reason(source: Connection) -> None:
    columns = source.execute(
        "SELECT relname FROM pg_class INNER JOIN pg_attribute ON attrelid = pg_class.oid"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition"
        " AND attname = 'org_id'"
    ).fetchall()
    known = {found.name for found in sources(source)} | LEFT_OUT.keys()
    assert known == {name for (name,) in columns} | {"organizations"}
