"""The other side of most comparisons: the ledger as the source documents have it, beside ours.

It lives in the schema `naive` of the same database; its functions find their tables by the search path.
"""

from pathlib import Path

import psycopg

from benchmarks.setting import Setting

SCHEMA = Path(__file__).with_name("sql") / "naive.sql"
CHARGE = "SELECT deduct_credits('{org}', '{user}', 1000, 'bench', NULL, {request_id}, '{{}}')"
"""One charge, as a statement of SQL."""
PLENTY = 10**15


def naive_url(setting: Setting) -> str:
    """Return the database's address with the naive ledger on its search path; make the ledger if needed."""
    with psycopg.connect(setting.database_url) as owner:
        if owner.execute("SELECT to_regnamespace('naive') IS NULL").fetchone() == (True,):
            owner.execute("CREATE SCHEMA naive")
            owner.execute("SET LOCAL search_path = naive")
            owner.execute(SCHEMA.read_bytes())
    return f"{setting.database_url}?options=-csearch_path%3Dnaive"


def naive_members(setting: Setting, org: str, users: list[str]) -> str:
    """Make an organisation whose members have plenty of credits; return the database's address."""
    url = naive_url(setting)
    with psycopg.connect(url) as owner:
        owner.execute(
            "INSERT INTO organization_credit_pools (org_id, total_credits) VALUES (%s, %s)"
            " ON CONFLICT DO NOTHING",
            (org, PLENTY),
        )
        owner.cursor().executemany(
            "INSERT INTO user_credit_allocations (org_id, user_id, allocated_credits) VALUES (%s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            [(org, user, PLENTY) for user in users],
        )
    return url
