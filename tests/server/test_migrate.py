"""The migration runner, on folders of SQL made for the purpose."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from reference_server import migrate as migrating
from reference_server.migrate import (
    _LOCK,
    MigrationError,
    MigrationReport,
    MigrationStatus,
    migrate,
    status,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write(tmp_path, "migrations/0001_things.sql", "create table things (id int primary key);")
    write(
        tmp_path,
        "migrations/0002_names.sql",
        "alter table things add name text; insert into things values (1, 'a');",
    )
    write(
        tmp_path, "functions/count_things.sql", function("count_things", "select count(*)::int from things")
    )
    return tmp_path


@pytest.fixture
def url(make_database: Callable[[], str]) -> str:
    return make_database()


def write(source: Path, name: str, text: str) -> None:
    (source / name).parent.mkdir(exist_ok=True)
    (source / name).write_text(text)


def function(name: str, body: str) -> str:
    return f"create or replace function {name}() returns int language sql as $$ {body} $$;"


def value(url: str, query: str) -> Any:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row
        return row[0]


def exists(url: str, relation: str) -> bool:
    return bool(value(url, f"select to_regclass('{relation}') is not null"))


def test_everything_is_applied_once(url: str, source: Path) -> None:
    both = ("0001_things.sql", "0002_names.sql")
    assert migrate(url, source=source) == MigrationReport(both, repeatable_applied=True, version=2)
    assert migrate(url, source=source) == MigrationReport((), repeatable_applied=False, version=2)
    assert value(url, "select count_things()") == 1


def test_a_new_migration_is_applied_alone(url: str, source: Path) -> None:
    migrate(url, source=source)
    write(source, "migrations/0003_more.sql", "insert into things values (2, 'b')")
    report = migrate(url, source=source)
    assert report == MigrationReport(("0003_more.sql",), repeatable_applied=False, version=3)
    assert value(url, "select count_things()") == 2


def test_a_dry_run_and_the_status_tell_and_change_nothing(url: str, source: Path) -> None:
    both = ("0001_things.sql", "0002_names.sql")
    assert migrate(url, source=source, dry_run=True) == MigrationReport(both, True, 2)
    assert status(url, source=source) == MigrationStatus(0, both, repeatable_pending=True)
    assert not exists(url, "things")
    assert not exists(url, "credit_sdk_migrations")
    migrate(url, source=source)
    assert status(url, source=source) == MigrationStatus(2, (), repeatable_pending=False)


def test_the_files_of_the_package_are_the_default(url: str) -> None:
    assert migrate(url).version == status(url).version > 0


def test_repeatable_files_are_applied_again_when_one_changes(url: str, source: Path) -> None:
    migrate(url, source=source)
    write(source, "functions/count_things.sql", function("count_things", "select 42"))
    assert migrate(url, source=source) == MigrationReport((), repeatable_applied=True, version=2)
    assert value(url, "select count_things()") == 42


def test_views_stand_on_functions_and_functions_on_later_functions(url: str, source: Path) -> None:
    write(source, "functions/a_first.sql", function("a_first", "select count_things() + 1"))
    write(source, "views/totals.sql", "create or replace view totals as select a_first() as total")
    write(source, "compat/old_totals.sql", "create or replace view old_totals as select total from totals")
    migrate(url, source=source)
    assert value(url, "select total from old_totals") == 2


def test_a_failing_migration_leaves_nothing_of_itself_and_its_predecessors(url: str, source: Path) -> None:
    write(source, "migrations/0003_broken.sql", "create table half (); select 1 / 0;")
    with pytest.raises(MigrationError, match=r"0003_broken.sql failed and was rolled back: division by zero"):
        migrate(url, source=source)
    assert not exists(url, "half")
    assert status(url, source=source).version == 0
    write(source, "migrations/0003_broken.sql", "create table half ();")
    assert migrate(url, source=source).applied == ("0001_things.sql", "0002_names.sql", "0003_broken.sql")


def test_a_failing_repeatable_file_undoes_all_of_them_and_the_migrations(url: str, source: Path) -> None:
    migrate(url, source=source)
    write(source, "migrations/0003_more.sql", "alter table things add more text;")
    write(source, "functions/count_things.sql", function("count_things", "select 42"))
    write(source, "views/broken.sql", "create or replace view broken as select 1 from nowhere")
    with pytest.raises(MigrationError, match=r"broken.sql failed"):
        migrate(url, source=source)
    assert value(url, "select count_things()") == 1
    assert status(url, source=source).version == 2


def test_an_edited_migration_is_refused(url: str, source: Path) -> None:
    migrate(url, source=source)
    write(source, "migrations/0001_things.sql", "create table things (id bigint primary key);")
    with pytest.raises(
        MigrationError, match=r"0001_things.sql was edited .* put the change into a new migration"
    ):
        migrate(url, source=source)


def test_line_endings_are_no_edit(url: str, source: Path) -> None:
    write(source, "migrations/0001_things.sql", "create table things\n(id int primary key);\n")
    migrate(url, source=source)
    (source / "migrations/0001_things.sql").write_bytes(b"create table things\r\n(id int primary key);\r\n")
    assert migrate(url, source=source).applied == ()


def test_a_database_of_a_newer_version_is_refused(url: str, source: Path) -> None:
    migrate(url, source=source)
    (source / "migrations/0002_names.sql").unlink()
    with pytest.raises(MigrationError, match=r"0002_names.sql, which this version .* does not know"):
        migrate(url, source=source)


@pytest.mark.parametrize(
    ("removed", "added", "complaint"),
    [
        ("0001_things.sql", None, "0001_things.sql, which the database has, is missing here"),
        (None, "0002_twin.sql", "0002_names.sql and 0002_twin.sql have the same number"),
        (None, "3_more.sql", "3_more.sql must be named like"),
        (None, "0000_before.sql", "0000_before.sql must be named like"),
    ],
)
def test_a_folder_in_disorder_is_refused(
    url: str, source: Path, removed: str | None, added: str | None, complaint: str
) -> None:
    migrate(url, source=source)
    if removed:
        (source / "migrations" / removed).unlink()
    if added:
        write(source, f"migrations/{added}", "select 1")
    with pytest.raises(MigrationError, match=complaint):
        migrate(url, source=source)


def test_a_number_below_an_applied_one_is_refused(url: str, source: Path) -> None:
    (source / "migrations/0001_things.sql").rename(source / "migrations/0003_things.sql")
    (source / "migrations/0002_names.sql").unlink()
    migrate(url, source=source)
    write(source, "migrations/0002_late.sql", "select 1")
    with pytest.raises(MigrationError, match=r"0002_late.sql comes before 0003_things.sql"):
        migrate(url, source=source)


def test_a_locked_table_is_not_waited_for_without_end(
    url: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrating, "PAUSE_SECONDS", 0)
    migrate(url, source=source)
    write(source, "migrations/0003_more.sql", "set local lock_timeout = 1; alter table things add more text;")
    with psycopg.connect(url) as reader:
        reader.execute("select * from things")
        with pytest.raises(MigrationError, match=r"0003_more.sql failed .* lock timeout"):
            migrate(url, source=source)
    write(
        source, "migrations/0003_more.sql", "create table timeout as select current_setting('lock_timeout');"
    )
    write(source, "functions/remember.sql", "create table again as select current_setting('lock_timeout');")
    migrate(url, source=source)
    assert value(url, "table timeout") == value(url, "table again") == "5s"


def test_who_keeps_a_lock_is_given_way_to(url: str, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(url, source=source)
    write(source, "migrations/0003_more.sql", "set local lock_timeout = 1; alter table things add more text;")
    with psycopg.connect(url) as reader:
        reader.execute("select * from things")
        monkeypatch.setattr(migrating.time, "sleep", lambda _: reader.rollback())
        assert migrate(url, source=source).applied == ("0003_more.sql",)


def test_processes_that_migrate_at_once_take_turns(url: str, source: Path) -> None:
    script = (
        "import sys, pathlib; from reference_server.migrate import migrate;"
        "print(migrate(sys.argv[1], source=pathlib.Path(sys.argv[2])).applied)"
    )
    command = [sys.executable, "-c", script, url, str(source)]
    with psycopg.connect(url, autocommit=True) as blocker:
        blocker.execute("select pg_advisory_lock(%s)", [_LOCK])
        both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        while value(url, "select count(*) from pg_locks where locktype = 'advisory' and not granted") < 2:
            assert [process.poll() for process in both] == [None, None]
        blocker.execute("select pg_advisory_unlock_all()")
    applied = sorted(process.communicate()[0].strip() for process in both)
    assert applied == ["('0001_things.sql', '0002_names.sql')", "()"]
    assert value(url, "select count_things()") == 1
