"""Write the page of the HTTP API from the document that the server serves at /openapi.json."""

from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from reference_server.openapi import openapi

PAGE = "http-reference.md"
HEADING = """# HTTP, address by address

Made from what a server serves at `/openapi.json`. What holds for all addresses stands in [rules](http.md).
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    files.append(File.generated(config, PAGE, content=_page(openapi())))
    return files


def _page(document: dict[str, Any]) -> str:
    sections = [
        _section(document, method, path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    return "\n".join([HEADING, *sections])


def _section(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    rows = [
        f"| `{name}` | {place} | {'yes' if required else ''} | {_kind(schema)} |"
        for name, place, required, schema in _fields(document, operation)
    ]
    table = ["| field | in | required | |", "|---|---|---|---|", *rows, ""] if rows else []
    statuses = ", ".join(f"`{status}`" for status in operation["responses"])
    return "\n".join(
        [
            f"## `{method.upper()} {path}`",
            "",
            operation["description"],
            "",
            *table,
            f"Answers {statuses}.",
            "",
        ]
    )


def _fields(
    document: dict[str, Any], operation: dict[str, Any]
) -> list[tuple[str, str, bool, dict[str, Any]]]:
    fields = [
        (each["name"], each["in"], bool(each.get("required")), each.get("schema", {}))
        for each in operation.get("parameters", ())
    ]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = _resolved(document, content["schema"])
        fields += [
            (name, "body", name in schema.get("required", ()), _resolved(document, field))
            for name, field in schema.get("properties", {}).items()
        ]
    return fields


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def _kind(schema: dict[str, Any]) -> str:
    kinds = [
        each.get("type") or each.get("$ref", "").rpartition("/")[2] for each in schema.get("anyOf", [schema])
    ]
    said = " or ".join(str(kind) for kind in kinds if kind and kind != "null")
    about = str(schema.get("description", "")).partition("\n")[0].replace("|", "\\|")
    return f"{said}. {about}".strip(". ") + "." if about else said
