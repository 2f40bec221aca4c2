"""Look at a database as `credits doctor` does: whether it can charge, and what lies about."""

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from credit_sdk.cli._findings import Finding, clock_finding

_TIMEOUT_SECONDS = 10.0
_OLDEST_SERVER = 150_000
_CROWDED = 0.9
_MANY = 0.2
_FEW_HOLDS = 20


def examine_database(url: str) -> Iterator[Finding]:
    """Yield what is found. Raises a `CreditError` when nothing more can be said."""
    before = datetime.now(UTC)
    found = _ask(url)
    yield Finding("reachable", "ok", f"PostgreSQL {found['server_version'] / 10_000:.4g} answers.")
    yield clock_finding(datetime.fromisoformat(found["now"]), before, datetime.now(UTC))
    yield _server(found)
    yield _schema(found["schema_version"])
    yield _role(found)
    yield _pooler(found)
    yield _connections(found)
    yield _overdue(found["overdue_holds"])
    yield _captures(found["latest_holds"], found["never_captured"])


def _ask(url: str) -> dict[str, Any]:
    import psycopg  # noqa: PLC0415 - an extra
    import sqlalchemy  # noqa: PLC0415

    from credit_sdk.backends import sql  # noqa: PLC0415
    from credit_sdk.backends._postgres_errors import connection_error, statement_error  # noqa: PLC0415

    address = sql.database_url(url)
    host = sql.host_of(address)
    engine = sql.make_engine(address, _TIMEOUT_SECONDS)
    try:
        with engine.connect() as connection:
            document = connection.exec_driver_sql("SELECT ledger.examine()").scalar_one()
            timeout = connection.exec_driver_sql("SHOW statement_timeout").scalar_one()
            is_pooled = getattr(connection.connection.driver_connection, "is_pooled", False)
    except sqlalchemy.exc.DBAPIError as error:
        cause = error.orig
        if isinstance(cause, psycopg.Error) and cause.sqlstate:
            raise statement_error(cause, host, 1) from None
        raise connection_error(cause or error, host) from None
    finally:
        engine.dispose()
    return dict(document) | {"statement_timeout": timeout, "is_pooled": is_pooled}


def _server(found: dict[str, Any]) -> Finding:
    if found["is_standby"]:
        return Finding(
            "server", "failure", "this is a standby: it can be read only.", "Give the primary's address."
        )
    if found["server_version"] < _OLDEST_SERVER:
        return Finding("server", "failure", "this PostgreSQL is too old.", "Use PostgreSQL 15 or newer.")
    if not found["is_durable"]:
        return Finding(
            "server",
            "warning",
            "fsync or synchronous_commit is off: a crash of the host loses charges that were confirmed.",
            "Switch both on.",
        )
    return Finding("server", "ok", "what it confirms is on disk.")


def _schema(version: int | None) -> Finding:
    ours = _shipped_version()
    if version is None or version < ours:
        return Finding(
            "schema",
            "failure",
            f"the schema is at version {version or 0}, this program is made for {ours}.",
            "Run `credits migrate` with the URL of the role that owns the tables.",
        )
    if version > ours:
        return Finding(
            "schema",
            "warning",
            f"the schema is at version {version}, newer than this program, which knows {ours}.",
            "Install the newer credit-sdk here.",
        )
    return Finding("schema", "ok", f"version {version}.")


def _shipped_version() -> int:
    """Return the version of the schema that is shipped beside this library, without importing a server."""
    scripts = files("reference_server") / "sql" / "migrations"
    return max(int(script.name[:4]) for script in scripts.iterdir() if script.name.endswith(".sql"))


def _role(found: dict[str, Any]) -> Finding:
    if found["is_superuser"]:
        return Finding(
            "role",
            "warning",
            "the URL is a superuser's, whom no rule of the database binds.",
            "Use a role that was granted credits_app.",
        )
    if found["is_owner"]:
        return Finding(
            "role",
            "warning",
            "the URL is that of the role that owns the tables: it could change them past every rule.",
            "Use a role that was granted credits_app; keep this one for `credits migrate`.",
        )
    return Finding("role", "ok", "an ordinary role.")


def _pooler(found: dict[str, Any]) -> Finding:
    if not found["is_pooled"]:
        return Finding("pooler", "ok", "none: connections lead to PostgreSQL itself.")
    if found["statement_timeout"] == "0":
        return Finding(
            "pooler",
            "warning",
            "a pooler is in between, which passes no time-out on: what waits for a lock waits on.",
            "ALTER ROLE ... SET statement_timeout = '10s', for the role of this URL.",
        )
    return Finding("pooler", "ok", f"one is in between; statements end after {found['statement_timeout']}.")


def _connections(found: dict[str, Any]) -> Finding:
    used, most = found["connections"], found["max_connections"]
    detail = f"{used} of {most} connections are in use"
    if used >= _CROWDED * most:
        return Finding(
            "connections",
            "warning",
            f"{detail}: new ones will soon be refused.",
            "Lower pool_size or the number of processes, or put PgBouncer in between.",
        )
    return Finding("connections", "ok", f"{detail}.")


def _overdue(holds: int) -> Finding:
    if holds:
        return Finding(
            "overdue holds",
            "warning",
            f"{holds:,} holds expired more than five minutes ago and were not given back.",
            "Run `credits run-due`, and keep a server running, which does it in the background.",
        )
    return Finding("overdue holds", "ok", "none.")


def _captures(latest: int, never_captured: int) -> Finding:
    detail = f"{never_captured:,} of the latest {latest:,} holds expired without being captured or voided"
    if latest >= _FEW_HOLDS and never_captured > _MANY * latest:
        return Finding(
            "captures",
            "warning",
            f"{detail}: some application dies in between, or forgets them.",
            "Look at its log and at `credits outbox list` on its hosts; use `charge` or `billable`.",
        )
    return Finding("captures", "ok", f"{detail}.")
