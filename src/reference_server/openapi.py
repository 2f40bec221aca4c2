"""The OpenAPI 3.1 document, made from the table of addresses and the operations' own schemas."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel, Field, TypeAdapter
from pydantic.json_schema import models_json_schema

from credit_sdk import operations
from credit_sdk.errors import ERRORS_BY_CODE, CreditError
from credit_sdk.models import Problem
from credit_sdk.operations import crossapp
from credit_sdk.wire import API_KEY_HEADER, IDEMPOTENCY_HEADER, REQUEST_ID_HEADER, SESSION_COOKIE
from reference_server import openapi_parts, problems
from reference_server.crossapp.endpoints import ENDPOINTS, Endpoint
from reference_server.crossapp.endpoints import RESOURCES as APPLICATION_RESOURCES
from reference_server.encoding import CSV_TYPE, JSON_TYPE, PROBLEM_TYPE
from reference_server.examples import EXAMPLES
from reference_server.routes import RESOURCES, ROUTES, Route

Json = dict[str, Any]

_ALWAYS = frozenset({401, 403, 406, 422, 429, 503})
_WITH_BODY = frozenset({400, 408, 413, 415})
_ON_HOLD = frozenset({409, 410})
_REFUSALS = _ALWAYS | _WITH_BODY | _ON_HOLD | {402, 404}
_TAKING = frozenset(
    {
        operations.Deduct,
        operations.PlaceHold,
        operations.ExtendHold,
        operations.ChargeHold,
        operations.CaptureHold,
        operations.Allocate,
        operations.Spend,
        operations.PlaceBalanceHold,
        operations.ExtendBalanceHold,
        operations.CaptureBalanceHold,
        crossapp.ConsumeAppCredits,
    }
)
_OF_SOMETHING = frozenset(
    {
        operations.Refund,
        operations.RefundSpending,
        operations.PlaceBalanceHold,
        operations.GetBalance,
        crossapp.PurchaseCredits,
    }
)
_CONFLICTING = frozenset(
    {
        operations.ChargeHold,
        operations.CreateSubscription,
        operations.UpdateSubscription,
        operations.UpgradeSubscription,
        operations.CancelSubscription,
        operations.AddMember,
        operations.CreateWebhook,
    }
)
_MADE: Mapping[type[operations.Operation[Any]], str] = {
    operations.PlaceHold: "hold_id",
    operations.CreateSubscription: "subscription_id",
}
"""What an operation makes, of which other addresses know more."""


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
            "description": "Prepaid credits of organisations and users: check, hold, charge, refund. "
            "Amounts are credits, with at most three decimals.",
        },
        "paths": {
            resource.path: {
                method.lower(): _operation(route, schemas) for method, route in resource.routes.items()
            }
            for resource in (*RESOURCES, *APPLICATION_RESOURCES)
        }
        | openapi_parts.PATHS,
        "components": {
            "schemas": {name: schema for name, schema in schemas.items() if name not in _inlined()}
            | openapi_parts.SCHEMAS,
            "responses": {str(status): _refusal(status) for status in sorted(_REFUSALS)}
            | openapi_parts.RESPONSES,
            "securitySchemes": _SECURITY_SCHEMES | openapi_parts.SECURITY_SCHEMES,
            "headers": _HEADERS | openapi_parts.HEADERS,
        },
        "security": [{name: []} for name in _SECURITY_SCHEMES],
    }


_ROUTES: tuple[Route, ...] = (*ROUTES, *ENDPOINTS)
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
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": r"^[\x20-\x7e]+$"},
    },
    "Retry-After": {
        "description": "In how many seconds to try again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "How to authenticate, and whether the credential is not valid.",
        "required": True,
        "schema": {"type": "string", "pattern": "^Bearer "},
    },
    "RateLimit": {
        "description": "How many requests are left, and for how many seconds.",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {"description": "How many requests there are.", "schema": {"type": "string"}},
}
_HEADERS_OF = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After", "RateLimit", "RateLimit-Policy"),
    503: ("Retry-After",),
}


def _schemas() -> dict[str, Json]:
    """Return the schemas of all operations (without what stands in the path) and results."""
    inputs: list[tuple[type[BaseModel], Any]] = [(route.address.operation, "validation") for route in _ROUTES]
    results = {route.address.operation.result for route in _ROUTES} | {ProblemBody}
    outputs: list[tuple[type[BaseModel], Any]] = [(result, "serialization") for result in results]
    _, document = models_json_schema(inputs + outputs, ref_template="#/components/schemas/{model}")
    schemas: dict[str, Json] = document["$defs"]
    for route in _ROUTES:
        schema = schemas[route.address.operation.__name__]
        _leave_out(route.terms.reserved, schema)
        if route.address.has_body:
            _allow_nulls(schema)
    return dict(sorted(schemas.items()))


def _leave_out(reserved: frozenset[str], schema: Json) -> None:
    """Leave out of an operation's schema what no request may say."""
    properties = schema["properties"]
    schema["properties"] = {name: field for name, field in properties.items() if name not in reserved}


def _allow_nulls(schema: Json) -> None:
    """Say that a field of a body that may be left out may be null as well, which says the same."""
    required = frozenset(schema.get("required", ()))
    for name, field in schema["properties"].items():
        alternatives = field.get("anyOf", [field])
        if name not in required and {"type": "null"} not in alternatives:
            described = {key: field[key] for key in ("title", "description", "default") if key in field}
            schema["properties"][name] = {"anyOf": [*alternatives, {"type": "null"}], **described}


def _inlined() -> set[str]:
    """Return the operations of which no schema is left as a whole: some fields stand in the address."""
    return {
        route.address.operation.__name__
        for route in _ROUTES
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
    if isinstance(route, Endpoint):
        members["security"] = [] if kind is crossapp.LogIn else [{"app_session": []}]
    if route.address.has_body:
        schema = _body_schema(route, schemas[kind.__name__])
        needed = route.needs_body or not {"oneOf", "anyOf"}.isdisjoint(schemas[kind.__name__])
        required = needed and not route.terms.in_query
        members["requestBody"] = {"required": required, "content": {JSON_TYPE: {"schema": schema}}}
        if kind in EXAMPLES:
            members["requestBody"]["content"][JSON_TYPE]["example"] = EXAMPLES[kind]
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
    "schema": TypeAdapter(operations.RequestId).json_schema(),
    "description": "Makes the request safe to repeat; the same as its field in the body.",
}


def _body_schema(route: Route, schema: Json) -> Json:
    path, names = route.address.path_fields, route.address.wire_names
    if not path:
        return {"$ref": f"#/components/schemas/{route.address.operation.__name__}"}
    properties = {
        names.get(name, name): field for name, field in schema["properties"].items() if name not in path
    }
    required = [
        names.get(name, name)
        for name in schema.get("required", ())
        if name not in path and not route.terms.in_query
    ]
    return schema | {"properties": {**properties, **route.terms.noted}, "required": required}


def _responses(route: Route) -> Json:
    result = {"$ref": f"#/components/schemas/{route.address.operation.result.__name__}"}
    content: Json = {JSON_TYPE: {"schema": result}}
    if route.address.operation is operations.ListCharges:
        content[CSV_TYPE] = {"schema": {"type": "string"}}
    headers = _headers(REQUEST_ID_HEADER, "RateLimit", "RateLimit-Policy")
    done: Json = {"description": "Done.", "headers": headers, "content": content}
    if route.address.operation in _MADE:
        done["links"] = dict(_links(_MADE[route.address.operation]))
    refusals = {
        str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(_statuses(route))
    }
    return {"200": done} | refusals


def _statuses(route: Route) -> frozenset[int]:
    kind, path = route.address.operation, route.address.path_fields
    statuses = _ALWAYS | (_WITH_BODY if route.address.has_body else frozenset())
    if path or kind in _OF_SOMETHING:
        statuses |= {404}
    if kind in _TAKING:
        statuses |= {402}
    if kind.idempotency is not None or kind in _CONFLICTING:
        statuses |= {409}
    if "hold_id" in path and route.address.has_body:
        statuses |= _ON_HOLD
    return statuses


def _links(made: str) -> Iterator[tuple[str, Json]]:
    """Return the operations on what was made, which its answer names."""
    for route in ROUTES:
        if made in route.address.path_fields:
            name = route.address.operation.__name__
            yield name, {"operationId": name, "parameters": {made: f"$response.body#/{made}"}}


def _refusal(status: int) -> Json:
    said = {"properties": {"status": {"const": status}, "code": {"enum": _codes(status)}}}
    schema = {"allOf": [{"$ref": "#/components/schemas/ProblemBody"}, said]}
    return {
        "description": HTTPStatus(status).phrase,
        "headers": _headers(REQUEST_ID_HEADER, *_HEADERS_OF.get(status, ())),
        "content": {PROBLEM_TYPE: {"schema": schema}},
    }


def _codes(status: int) -> list[str]:
    """Return the codes of the refusals with this status, of the ledger and of the server."""
    of_server = [each for each in vars(problems).values() if isinstance(each, type)]
    kinds = [*ERRORS_BY_CODE.values(), *(each for each in of_server if issubclass(each, CreditError))]
    return sorted({kind.code for kind in kinds if kind.status == status})


def _headers(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
