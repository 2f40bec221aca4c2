"""Organisations with members who have plenty of credits, in our ledger and in the naive one."""

from dataclasses import dataclass

import psycopg

from benchmarks.naive import naive_members
from benchmarks.setting import Setting

CREDITS = 10**12
"""In millicredits, for each member."""


@dataclass(frozen=True)
class Crowd:
    """So many organisations of so many members each; `name-0` has `user-0`, `user-1` and so on."""

    name: str
    organizations: int
    members: int

    def join(self, setting: Setting) -> None:
        """Make them in our ledger, once."""
        users = [f"user-{number}" for number in range(self.members)]
        with psycopg.connect(setting.database_url) as owner:
            for org in self._names():
                owner.execute(
                    "INSERT INTO organizations (id, name) VALUES (%s, %s) ON CONFLICT DO NOTHING", (org, org)
                )
                owner.execute(
                    "SELECT ledger.add_credits(%s, %s, request_id => 'plenty')",
                    (org, CREDITS * self.members),
                )
                owner.cursor().executemany(
                    "INSERT INTO organization_members (org_id, user_id) VALUES (%s, %s)"
                    " ON CONFLICT DO NOTHING",
                    [(org, user) for user in users],
                )
                owner.cursor().executemany(
                    "SELECT ledger.allocate(%s, %s, %s, request_id => %s)",
                    [(org, user, CREDITS, f"plenty-{user}") for user in users],
                )
            # As autovacuum does in its time.
            owner.execute("ANALYZE")

    def join_naive(self, setting: Setting) -> str:
        """Make them in the naive ledger, once; return the database's address."""
        for org in self._names():
            url = naive_members(setting, org, [f"user-{number}" for number in range(self.members)])
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute("ANALYZE")
        return url

    def _names(self) -> list[str]:
        return [f"{self.name}-{number}" for number in range(self.organizations)]
