"""One organisation as a file: out of one database, into another.

    {"format": "credits-organization-1", "org_id": ..., "schema_version": ...}
    {"table": "organizations", "row": {...}}                one line for each row, table by table
    ...
    {"tables": {"organizations": {"rows": 1, "digest": ...}, ...}, "head": {...}}

Rows are as PostgreSQL writes them (`to_jsonb`), amounts in the units of their columns. The last line is
written when everything else is: a file without it is half a file, and refused.
"""
