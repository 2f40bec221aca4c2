"""Write the SQL that distributes a migrated database by organisation on Citus.

python -m reference_server.citus postgresql://owner@coordinator/credits > distribute.sql

What is distributed is asked of the catalogue: every table whose primary key, unique keys and foreign keys
all have `org_id`. Every other table is named here, with the reason.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

    Connection = psycopg.Connection[tuple[Any, ...]]

REFERENCE = {
    "organizations": "names and slugs are unique among all; every charge reads its row, few write it"
}
"""Tables of which every worker has a copy."""
_PEOPLE = "people are not of one organisation"
_EVERYWHERE = "it is about the installation"
_BOTH = "has rows of users, or of the platform, which are of no organisation"
_STRIPE = "Stripe's ids are unique among all, and are not of one organisation"
LOCAL = {
    "alert_rounds": _EVERYWHERE,
    "alert_rules": _BOTH,
    "api_keys": "the digest of a key is unique among all, and finds the organisation",
    "app_credit_usage": _PEOPLE,
    "app_integrations": _EVERYWHERE,
    "audit_log": "has rows of no organisation",
    "auth_sessions": _PEOPLE,
    "credit_alerts": _BOTH,
    "credit_lots": _BOTH,
    "credit_packages": _EVERYWHERE,
    "credit_sdk_migrations": _EVERYWHERE,
    "credits_transactions": _PEOPLE,
    "cross_app_sessions": _PEOPLE,
    "cross_app_signing_keys": _EVERYWHERE,
    "llm_models": _EVERYWHERE,
    "stripe_checkouts": _STRIPE,
    "stripe_customers": _STRIPE,
    "stripe_events": _STRIPE,
    "stripe_grants": _STRIPE,
    "stripe_payments": _STRIPE,
    "stripe_reversals": _STRIPE,
    "stripe_subscriptions": _STRIPE,
    "top_up_settings": _STRIPE,
    "top_ups": _STRIPE,
    "user_credit_hold_extensions": _PEOPLE,
    "user_credit_holds": _PEOPLE,
    "users": _PEOPLE,
    "webhook_deliveries": _BOTH,
    "webhook_endpoints": _BOTH,
}
"""Tables that stay on the coordinator."""
_FIRST = "user_credit_allocations"
"""The table with which the others are kept together: what a charge touches is on one worker."""
_TABLES = """
    SELECT
      relation.relname,
      owner.attnum IS NOT NULL AND owner.attnotnull,
      coalesce(
        array_agg(key.indexrelid::regclass::text ORDER BY key.indexrelid::regclass::text)
        FILTER (WHERE key.indisunique AND NOT coalesce(owner.attnum = ANY(key.indkey::int2[]), FALSE)),
        '{}'
      )
    FROM pg_class AS relation
    LEFT JOIN pg_attribute AS owner
      ON owner.attrelid = relation.oid AND owner.attname = 'org_id' AND NOT owner.attisdropped
    LEFT JOIN pg_index AS key ON key.indrelid = relation.oid
    WHERE relation.relnamespace = 'public'::regnamespace AND relation.relkind IN ('r', 'p')
      AND NOT relation.relispartition
    GROUP BY relation.oid, owner.attnum, owner.attnotnull
    ORDER BY relation.relname
"""
_REFERENCES = """
    SELECT
      source.relname, target.relname, reference.conname,
      EXISTS (
        SELECT FROM unnest(reference.conkey, reference.confkey) AS part (own, other)
        JOIN pg_attribute AS mine ON mine.attrelid = source.oid AND mine.attnum = part.own
        JOIN pg_attribute AS theirs ON theirs.attrelid = target.oid AND theirs.attnum = part.other
        WHERE mine.attname = 'org_id' AND theirs.attname = 'org_id'
      )
    FROM pg_constraint AS reference
    JOIN pg_class AS source ON source.oid = reference.conrelid
    JOIN pg_class AS target ON target.oid = reference.confrelid
    WHERE reference.contype = 'f' AND source.relnamespace = 'public'::regnamespace
    ORDER BY 1, 3
"""
_OF_STATEMENTS = """
    SELECT hook.tgname, owner.relname
    FROM pg_trigger AS hook
    JOIN pg_class AS owner ON owner.oid = hook.tgrelid
    WHERE NOT hook.tgisinternal AND hook.tgtype & 1 = 0 AND owner.relname = ANY(%s)
    ORDER BY owner.relname, hook.tgname
"""
_FUNCTIONS = """
    SELECT routine.oid::regprocedure::text
    FROM pg_proc AS routine
    WHERE routine.pronamespace = 'ledger'::regnamespace AND routine.proargnames[1] = 'org_id'
      AND routine.pronargdefaults < routine.pronargs
      AND has_function_privilege('credits_app', routine.oid, 'EXECUTE')
    ORDER BY 1
"""


class CannotDistributeError(RuntimeError):
    """The schema does not fit Citus; the message names the tables."""


@dataclass(frozen=True)
class Layout:
    """Where tables are; triggers of statements, which cannot stay; functions that run on the workers."""

    distributed: tuple[str, ...]
    reference: tuple[str, ...]
    local: tuple[str, ...]
    triggers: tuple[tuple[str, str], ...]
    functions: tuple[str, ...]


def layout(connection: Connection) -> Layout:
    """Return how a migrated database is distributed.

    Raises `CannotDistributeError` for a table that fits nowhere: neither has every key `org_id`, nor is
    it named in `REFERENCE` or `LOCAL`.
    """
    connection.execute("SET search_path = ''")
    distributed: list[str] = []
    problems: list[str] = []
    named = REFERENCE.keys() | LOCAL.keys()
    found = connection.execute(_TABLES).fetchall()
    for name, has_owner, keys in found:
        if name in named:
            continue
        if not has_owner:
            problems.append(f"{name} has no org_id that is always there")
        elif keys:
            problems.append(f"{name} has a unique key without org_id ({', '.join(keys)})")
        else:
            distributed.append(name)
    there = {name for name, _, _ in found}
    problems += [f"{name} is named here, but there is no such table" for name in sorted(named - there)]
    for name, target, key, has_owner in connection.execute(_REFERENCES).fetchall():
        if name in distributed and not (target in REFERENCE or (target in distributed and has_owner)):
            problems.append(f"{name} refers to {target} without org_id ({key})")
        if name in REFERENCE and target not in REFERENCE:
            problems.append(f"{name} is copied to every worker, and refers to {target} ({key})")
        if name in LOCAL and target in distributed:
            problems.append(f"{name} stays on the coordinator, and refers to {target} ({key})")
    if problems:
        raise CannotDistributeError("; ".join(problems))
    return Layout(
        tuple(distributed),
        tuple(REFERENCE),
        tuple(LOCAL),
        tuple((name, table) for name, table in connection.execute(_OF_STATEMENTS, [distributed])),
        tuple(name for (name,) in connection.execute(_FUNCTIONS)),
    )


def script(found: Layout) -> Iterator[str]:
    """Yield the lines of the SQL."""
    yield "-- Distributes a migrated database by organisation. Run on the coordinator, as the owner."
    yield "CREATE EXTENSION IF NOT EXISTS citus;"
    yield "-- Triggers on shards; each of ours looks at rows of its own organisation."
    yield "SET citus.enable_unsafe_triggers = on;"
    yield ""
    for name, reason in REFERENCE.items():
        yield f"-- {reason}"
        yield f"SELECT create_reference_table('public.{name}');"
    yield ""
    yield "-- They stay on the coordinator, where workers can reach them."
    for name, reason in LOCAL.items():
        yield f"SELECT citus_add_local_table_to_metadata('public.{name}');  -- {reason}"
    yield ""
    yield "-- Citus knows no triggers of statements on distributed tables: these refused TRUNCATE."
    for trigger, table in found.triggers:
        yield f"DROP TRIGGER {trigger} ON public.{table};"
    yield ""
    yield "-- What a charge touches is on one worker."
    for name in (_FIRST, *(table for table in found.distributed if table != _FIRST)):
        together = "none" if name == _FIRST else _FIRST
        yield f"SELECT create_distributed_table('public.{name}', 'org_id', colocate_with => '{together}');"
    yield ""
    yield "-- Run by the worker that has the organisation: one round trip from the coordinator."
    for signature in found.functions:
        yield (f"SELECT create_distributed_function('{signature}', 'org_id', colocate_with => '{_FIRST}');")


def main() -> None:
    """Print the SQL for the database that the only argument names."""
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and its argument
        sys.exit("usage: python -m reference_server.citus postgresql://owner@coordinator/credits")
    try:
        with psycopg.connect(sys.argv[1], autocommit=True) as connection:
            found = layout(connection)
    except (psycopg.Error, CannotDistributeError) as error:
        sys.exit(f"citus: {str(error).partition(chr(10))[0]}")
    sys.stdout.writelines(f"{line}\n" for line in script(found))


if __name__ == "__main__":
    main()
