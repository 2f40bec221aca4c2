"""The OpenAPI 3.1 document, made from the table of addresses and the operations' own schemas."""

from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from credit_sdk.models import Problem
from credit_sdk.operations import ListCharges
from credit_sdk.wire import API_KEY_HEADER, IDEMPOTENCY_HEADER, REQUEST_ID_HEADER, SESSION_COOKIE
from reference_server.encoding import CSV_TYPE, JSON_TYPE, PROBLEM_TYPE
from reference_server.routes import RESOURCES, ROUTES, Route

Json = dict[str, Any]

_ALWAYS = frozenset({401, 403, 404, 406, 422, 429, 503})
_WITH_BODY = frozenset({400, 408, 413, 415})
_SPENDING = frozenset({402, 409})
_HOLD = frozenset({410})
_REFUSALS = _ALWAYS | _WITH_BODY | _SPENDING | _HOLD


class FieldProblem(BaseModel):
    """One thing that is wrong with a request."""

    loc: list[str | int]
    msg: str
    type: str


class ProblemBody(Problem):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    request_id: str
    errors: list[FieldProblem] = Field(default_factory=list)


def openapi() -> Json:
    """Return the document."""
    schemas = _schemas()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Credits",
            "version": version("credit-sdk"),
            "description": "Prepaid credits of organisations: check, hold, charge, refund. "
            "Amounts are credits, with at most three decimals.",
        },
        "paths": {
            resource.path: {
                method.lower(): _operation(route, schemas) for method, route in resource.routes.items()
            }
            for resource in RESOURCES
        },
        "components": {
            "schemas": {name: schema for name, schema in schemas.items() if name not in _inlined()},
            "responses": {str(status): _refusal(status) for status in sorted(_REFUSALS)},
            "securitySchemes": _SECURITY_SCHEMES,
            "headers": _HEADERS,
        },
        "security": [{name: []} for name in _SECURITY_SCHEMES],
    }


_SECURITY_SCHEMES: Json = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A session, an API key, or an access token of the identity provider.",
    },
    "api_key": {"type": "apiKey", "in": "header", "name": API_KEY_HEADER},
    "session": {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE},
}
_HEADERS: Json = {
    REQUEST_ID_HEADER: {
        "description": "The id of this request: the caller's own, or a new one.",
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "In how many seconds to try again.", "schema": {"type": "integer"}},
}


def _schemas() -> dict[str, Json]:
    """Return the schemas of all operations (without what stands in the path) and results."""
    inputs: list[tuple[type[BaseModel], Any]] = [(route.address.operation, "validation") for route in ROUTES]
    results = {route.address.operation.result for route in ROUTES} | {ProblemBody}
    outputs: list[tuple[type[BaseModel], Any]] = [(result, "serialization") for result in results]
    _, document = models_json_schema(inputs + outputs, ref_template="#/components/schemas/{model}")
    schemas: dict[str, Json] = dict(sorted(document["$defs"].items()))
    for route in ROUTES:
        _leave_out(route.terms.reserved, schemas[route.address.operation.__name__])
    return schemas


def _leave_out(reserved: frozenset[str], schema: Json) -> None:
    """Leave out of an operation's schema what no request may say."""
    properties = schema["properties"]
    schema["properties"] = {name: field for name, field in properties.items() if name not in reserved}


def _inlined() -> set[str]:
    """Return the operations of which no schema is left as a whole: some fields stand in the address."""
    return {
        route.address.operation.__name__
        for route in ROUTES
        if route.address.path_fields or not route.address.has_body
    }


def _operation(route: Route, schemas: dict[str, Json]) -> Json:
    kind = route.address.operation
    description = " ".join((kind.__doc__ or "").split())
    members: Json = {
        "operationId": kind.__name__,
        "summary": description.partition(". ")[0].rstrip("."),
        "description": description,
        "parameters": _parameters(route, schemas[kind.__name__]),
        "responses": _responses(route),
    }
    if route.address.has_body:
        schema = _body_schema(route, schemas[kind.__name__])
        required = route.needs_body and not route.terms.in_query
        members["requestBody"] = {"required": required, "content": {JSON_TYPE: {"schema": schema}}}
    return members


def _parameters(route: Route, schema: Json) -> list[Json]:
    path, required = route.address.path_fields, frozenset(schema.get("required", ()))
    parameters = [
        {
            "name": name,
            "in": "path" if name in path else "query",
            "required": name in path or (name in required and not route.address.has_body),
            "schema": field,
        }
        for name, field in schema["properties"].items()
        if name in path or route.takes_query
    ]
    return parameters + ([_IDEMPOTENCY] if route.address.operation.idempotency else [])


_IDEMPOTENCY: Json = {
    "name": IDEMPOTENCY_HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "Makes the request safe to repeat; the same as its field in the body.",
}


def _body_schema(route: Route, schema: Json) -> Json:
    path = route.address.path_fields
    if not path:
        return {"$ref": f"#/components/schemas/{route.address.operation.__name__}"}
    return schema | {
        "properties": {name: field for name, field in schema["properties"].items() if name not in path},
        "required": [
            name for name in schema.get("required", ()) if name not in path and not route.terms.in_query
        ],
    }


def _responses(route: Route) -> Json:
    result = {"$ref": f"#/components/schemas/{route.address.operation.result.__name__}"}
    content: Json = {JSON_TYPE: {"schema": result}}
    if route.address.operation is ListCharges:
        content[CSV_TYPE] = {"schema": {"type": "string"}}
    done = {"description": "Done.", "headers": _headers(REQUEST_ID_HEADER), "content": content}
    refusals = {
        str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(_statuses(route))
    }
    return {"200": done} | refusals


def _statuses(route: Route) -> frozenset[int]:
    on_hold = "hold_id" in route.address.path_fields and route.address.has_body
    spending = route.address.operation.idempotency is not None or on_hold
    return (
        _ALWAYS
        | (_WITH_BODY if route.address.has_body else frozenset())
        | (_SPENDING if spending else frozenset())
        | (_HOLD if on_hold else frozenset())
    )


def _refusal(status: int) -> Json:
    retryable = ["Retry-After"] if status in {429, 503} else []
    return {
        "description": HTTPStatus(status).phrase,
        "headers": _headers(REQUEST_ID_HEADER, *retryable),
        "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}},
    }


def _headers(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
