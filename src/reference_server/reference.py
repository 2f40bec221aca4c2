"""The reference of the HTTP API: as an OpenAPI document, and as a plain page for people."""

from functools import cache
from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from reference_server.openapi import Json, openapi


async def openapi_json(_: Request) -> Response:
    """Answer with the OpenAPI document."""
    return JSONResponse(_document())


async def docs(_: Request) -> Response:
    """Answer with the page."""
    return HTMLResponse(_page())


@cache
def _document() -> Json:
    return openapi()


@cache
def _page() -> str:
    title = escape(_document()["info"]["title"])
    sections = "\n".join(
        _section(method, path, operation)
        for path, operations in _document()["paths"].items()
        for method, operation in operations.items()
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>\n'
        f"<body><h1>{title}</h1>\n<p>{escape(_document()['info']['description'])}</p>\n"
        f'<p>For programs: <a href="openapi.json">openapi.json</a></p>\n{sections}\n</body></html>\n'
    )


def _section(method: str, path: str, operation: Json) -> str:
    fields = "\n".join(
        f"<li><code>{escape(name)}</code>{' (required)' if required else ''}, in the {place}</li>"
        for name, place, required in _fields(operation)
    )
    return (
        f"<h2><code>{method.upper()} {escape(path)}</code></h2>\n"
        f"<p>{escape(operation['description'])}</p>\n<ul>\n{fields}\n</ul>"
    )


def _fields(operation: Json) -> list[tuple[str, str, bool]]:
    named = [(field["name"], field["in"], field["required"]) for field in operation["parameters"]]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = content["schema"]
        if "$ref" in schema:
            schema = _document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        required = schema.get("required", ())
        named += [(name, "body", name in required) for name in schema.get("properties", ())]
    return named
