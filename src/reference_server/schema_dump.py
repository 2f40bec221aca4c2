"""Write `sql/schema.sql`: what the migrations and the repeatable files add up to, as pg_dump sees it.

python -m reference_server.schema_dump
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

from reference_server.embedded import EmbeddedPostgres, find_binaries
from reference_server.migrate import migrate

SCHEMA = Path(__file__).parent / "sql" / "schema.sql"

# What varies with the server, the client or the run, and says nothing about the schema.
_NOISE = re.compile(
    r"--(| PostgreSQL database dump.*| Dumped .*)"
    r"|SET (check|client|default|idle|lock|row|standard|statement|transaction|xmloption)\w* = .*;"
    r"|SELECT pg_catalog\.set_config\('search_path', '', false\);"
    r"|\\(un)?restrict .*"
)
_HEADING = re.compile(r"-- Name: (?P<name>.*); Type: (?P<type>.*); Schema: .*; Owner: -")
_BLANK_LINES = re.compile(r"\n{3,}")


def dump(database_url: str) -> str:
    """Return the schema of a database as SQL, alike for alike schemas.

    Owners are left out, privileges kept. Raises subprocess.CalledProcessError when pg_dump fails.
    """
    # As arguments of a command, passwords are everybody's to read.
    password = urlsplit(database_url).password
    bare = database_url.replace(f":{password}@", "@") if password else database_url
    done = subprocess.run(  # noqa: S603 - our own arguments
        [find_binaries() / "pg_dump", "--schema-only", "--no-owner", "--dbname", bare],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | ({"PGPASSWORD": unquote(password)} if password else {}),
    )
    return normalised(done.stdout)


def normalised(dump: str) -> str:
    """Return a dump without what varies from run to run."""
    lines = [_HEADING.sub(r"-- \g<type>: \g<name>", line) for line in dump.splitlines()]
    kept = "\n".join(line.rstrip() for line in lines if not _NOISE.fullmatch(line))
    return _BLANK_LINES.sub("\n\n", kept).strip() + "\n"


def main() -> None:
    """Write the schema file."""
    with EmbeddedPostgres() as postgres:
        migrate(postgres.url())
        SCHEMA.write_text(dump(postgres.url()), encoding="utf-8")


if __name__ == "__main__":
    main()
