"""PostgreSQL without an installation: the binaries of a wheel, started and stopped by this process.

The server lives exactly as long as the process that started it. It listens on a free port of
127.0.0.1 and on a Unix socket, asks everyone for a password (SCRAM), and keeps its promises about
durability: `fsync` and `synchronous_commit` stay on.

A data directory holds

    cluster/      the PostgreSQL data directory
    password      the superuser's password, mode 0600
    server.log    what the server said
    lock          locked by the launcher and, by inheritance, by every process of its server

PostgreSQL refuses to run as root. Root's servers run as the user who owns the cluster, `postgres` or
else `nobody` for a new one. Folders which that user may not enter stay closed to it: it is handed
the data directory as an open descriptor, and a private copy of the programs.
"""

from reference_server.embedded.binaries import find_binaries
from reference_server.embedded.errors import EmbeddedPostgresError
from reference_server.embedded.postgres import EmbeddedPostgres

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "find_binaries"]
