"""Write an organisation's books to a file, as they are at one moment."""

from collections.abc import Callable
from typing import TextIO

from reference_server.transfer.lines import Contents, Opening, TransferError, row_line
from reference_server.transfer.tables import Connection, Summing, head, prepare, sources

# The snapshot of one transaction: charges go on meanwhile, and wait for nothing.
_ONE_MOMENT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"


def export_organization(
    connection: Connection, org_id: str, file: TextIO, *, advance: Callable[[], object] = lambda: None
) -> Contents:
    """Write everything of an organisation to `file`; return what it was.

    The connection is the owner's, autocommitting, and in no transaction. `advance` is called for each row.
    Raises `TransferError` for an organisation that does not exist.
    """
    with connection.transaction():
        connection.execute(_ONE_MOMENT)
        version = prepare(connection)
        if connection.execute("SELECT FROM public.organizations WHERE id = %s", [org_id]).fetchone() is None:
            raise TransferError(f"There is no organisation {org_id!r} in this database.")
        file.write(Opening(org_id=org_id, schema_version=version).model_dump_json() + "\n")
        tables = {}
        for source in sources(connection):
            summing = Summing()
            for row in source.rows(connection, org_id):
                summing.add(row)
                file.write(row_line(source.name, row))
                advance()
            tables[source.name] = summing.table()
        contents = Contents(tables=tables, head=head(connection, org_id))
    file.write(contents.model_dump_json() + "\n")
    return contents
