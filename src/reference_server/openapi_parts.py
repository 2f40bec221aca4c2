"""What the OpenAPI document says of payments, of the gateway, and of the server's health."""

from typing import Any, get_args

from pydantic import TypeAdapter

from credit_sdk.operations import OrgId
from credit_sdk.wire import IDEMPOTENCY_HEADER, REQUEST_ID_HEADER
from reference_server.encoding import JSON_TYPE
from reference_server.llm.gateway import BASE_PATH, POWER_HEADER
from reference_server.llm.payers import ORGANIZATION_HEADER
from reference_server.llm.prices import Kind, PowerLevel
from reference_server.llm.problems import COST_HEADER, REMAINING_HEADER
from reference_server.llm.requests import LONGEST_NAME, MOST_CHOICES, MOST_IMAGES
from reference_server.payments.routes import PATH as PAYMENTS_PATH
from reference_server.payments.routes import SIGNATURE_HEADER, CheckoutRequest

Json = dict[str, Any]

_WITH_BODY = (400, 408, 413, 415)
_TEXT: Json = {"type": "string"}
_NULL: Json = {"type": "null"}
_NOTHING: Json = {"security": []}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: dict[str, Json], /, **optional: Json) -> Json:
    return {"type": "object", "properties": required | optional, "required": list(required)}


def _list_of(schema: Json) -> Json:
    return {"type": "array", "items": schema}


def _or_null(schema: Json) -> Json:
    return {"anyOf": [schema, _NULL]}


def _parameter(name: str, place: str, schema: Json, description: str, *, required: bool = False) -> Json:
    said = {"name": name, "in": place, "required": required or place == "path"}
    return said | {"schema": schema, "description": description}


def _headers(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _operation(
    name: str,
    description: str,
    answer: Json,
    refusals: Json,
    *,
    headers: tuple[str, ...] = (),
    parameters: tuple[Json, ...] = (),
    body: Json | None = None,
    example: Json | None = None,
) -> Json:
    """Return an operation. `answer` is the content of a 200 by its type."""
    done = {"description": "Done.", "headers": _headers(REQUEST_ID_HEADER, *headers), "content": answer}
    said: Json = {
        "operationId": name,
        "summary": description.partition(". ")[0].rstrip("."),
        "description": description,
        "parameters": list(parameters),
        "responses": {"200": done} | refusals,
    }
    if body is not None:
        said["requestBody"] = {"required": True, "content": {JSON_TYPE: {"schema": body, "example": example}}}
    return said


def _json(schema: Json) -> Json:
    return {JSON_TYPE: {"schema": schema}}


def _problems(*statuses: int) -> Json:
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}


def _llm_refusals(*statuses: int) -> Json:
    refusal = {"$ref": "#/components/responses/LlmRefusal"}
    return {str(status): refusal for status in sorted({401, 403, 404, 429, 503, *statuses})}


_FIGURE: Json = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,3})?$"}
HEADERS: Json = {
    COST_HEADER: {"description": "What the call has cost, in credits.", "schema": _FIGURE},
    REMAINING_HEADER: {"description": "What the payer has left, in credits.", "schema": _FIGURE},
}
SECURITY_SCHEMES: Json = {
    "app_session": {
        "type": "http",
        "scheme": "bearer",
        "description": "A session of /api/cross-app/auth; it may stand in the field session_token instead.",
    },
}

_LEVEL: Json = {"enum": [*get_args(PowerLevel), None]}
_MODEL: Json = _TEXT | {
    "minLength": 1,
    "description": "A model on offer, or auto for the first one of power_level.",
}
_COMMON: dict[str, Json] = {
    "model": _MODEL,
    "user": {"description": "Who pays for a call with an API key."},
    "power_level": _LEVEL,
    "task_type": _TEXT | {"minLength": 1, "maxLength": LONGEST_NAME, "description": "For the attribution."},
}
_BOUND: Json = _or_null({"type": "integer", "minimum": 1})
_FALSE: Json = {"enum": [False, None]}
_USAGE: Json = {"type": "object"}
_ERROR: Json = _object(
    {"message": _TEXT, "type": _TEXT, "param": _or_null(_TEXT), "code": _or_null(_TEXT)},
    required={"type": "number"},
    available={"type": "number"},
)

SCHEMAS: dict[str, Json] = {
    "ChatRequest": _object(
        {"messages": _list_of({"type": "object"}) | {"minItems": 1}},
        **_COMMON,
        stream=_or_null({"type": "boolean"}),
        stream_options=_or_null({"type": "object"}),
        max_tokens=_BOUND,
        max_completion_tokens=_BOUND,
        n=_or_null({"type": "integer", "minimum": 1, "maximum": MOST_CHOICES}),
    )
    | {"description": "What the provider gets, but for power_level and task_type; the rest is passed on."},
    "EmbeddingRequest": _object(
        {"input": {"anyOf": [_TEXT | {"minLength": 1}, {"type": "array", "minItems": 1}]}},
        **_COMMON,
        stream=_FALSE,
        stream_options=_or_null({"type": "object"}),
    ),
    "ImageRequest": _object(
        {"prompt": _TEXT | {"minLength": 1}},
        **_COMMON,
        stream=_FALSE,
        stream_options=_or_null({"type": "object"}),
        n=_or_null({"type": "integer", "minimum": 1, "maximum": MOST_IMAGES}),
    ),
    "ProviderAnswer": {
        "type": "object",
        "description": "The provider's answer, as OpenAI's API describes it.",
        "properties": {"choices": _list_of({"type": "object"}), "data": {"type": "array"}, "usage": _USAGE},
    },
    "LlmModel": _object(
        {
            "id": _TEXT,
            "object": {"const": "model"},
            "created": {"type": "integer"},
            "owned_by": _TEXT,
            "kind": {"enum": list(get_args(Kind))},
            "power_level": _LEVEL,
            "pricing": {
                "type": "object",
                "additionalProperties": _TEXT,
                "description": "In USD: for a million tokens, or for an image.",
            },
        }
    ),
    "LlmError": _object({"error": _ERROR}),
    "ProviderKey": _object({"provider": _TEXT, "hint": _TEXT}),
    "CheckoutRequest": CheckoutRequest.model_json_schema(),
    "Checkout": _object({"id": _TEXT, "session_id": _TEXT, "url": _TEXT}),
    "Product": _object(
        {"id": _TEXT, "name": _TEXT, "description": _or_null(_TEXT)},
        prices=_list_of(
            _object(
                {
                    "id": _or_null(_TEXT),
                    "amount": {"type": "integer", "description": "In cents."},
                    "currency": _TEXT,
                    "credits": {"type": "number"},
                    "mode": {"enum": ["payment", "subscription"]},
                    "interval": _or_null(_TEXT),
                }
            )
        ),
    ),
    "AppliedEvent": _object({"received": {"const": True}, "event_id": _TEXT, "outcome": _TEXT}),
    "Alive": _object({"status": _TEXT}),
}

RESPONSES: Json = {
    "LlmRefusal": {
        "description": "An error in OpenAI's shape. Nothing was charged.",
        "headers": _headers(REQUEST_ID_HEADER, COST_HEADER, REMAINING_HEADER),
        "content": _json(_ref("LlmError")),
    },
}

_ORG_ID = _parameter("org_id", "path", TypeAdapter(OrgId).json_schema(), "The organisation.")
_PROVIDER = _parameter(
    "provider", "path", _TEXT | {"pattern": "^[a-z][a-z0-9_-]{0,99}$"}, "A provider on offer."
)
_PAYER = _parameter(
    ORGANIZATION_HEADER, "header", _TEXT, "The organisation that pays, instead of the caller's default."
)
_LEVEL_HEADER = _parameter(
    POWER_HEADER, "header", {"enum": list(get_args(PowerLevel))}, "As power_level in the body."
)
_ONCE = _parameter(
    IDEMPOTENCY_HEADER,
    "header",
    _TEXT | {"minLength": 1, "maxLength": 255},
    "Makes the call once: the same key again is refused with 409.",
)
_CALLED = (COST_HEADER, REMAINING_HEADER, "RateLimit", "RateLimit-Policy")


def _call(name: str, description: str, schema: str, example: Json, content: Json) -> Json:
    refusals = _llm_refusals(*_WITH_BODY, 402, 409, 422, 501, 502, 504)
    refusals["default"] = {"$ref": "#/components/responses/LlmRefusal"}
    return _operation(
        name,
        description,
        content,
        refusals,
        headers=_CALLED,
        parameters=(_PAYER, _LEVEL_HEADER, _ONCE),
        body=_ref(schema),
        example=example,
    )


def _llm_paths() -> Json:
    answer = _json(_ref("ProviderAnswer"))
    message = {"role": "user", "content": "Hello"}
    keys, key = _json(_object({"items": _list_of(_ref("ProviderKey"))})), _json(_ref("ProviderKey"))
    models = _json(_object({"object": {"const": "list"}, "data": _list_of(_ref("LlmModel"))}))
    secret = _object({"api_key": _TEXT | {"pattern": "^[\\x21-\\x7e]{16,512}$"}})
    return {
        "/chat/completions": {
            "post": _call(
                "CreateChatCompletion",
                "Let a model answer, and charge what it used. With stream, the answer is events.",
                "ChatRequest",
                {"model": "gpt-4o-mini", "messages": [message], "max_tokens": 100},
                answer | {"text/event-stream": {"schema": _TEXT}},
            )
        },
        "/embeddings": {
            "post": _call(
                "CreateEmbedding",
                "Let a model embed texts, and charge what it used.",
                "EmbeddingRequest",
                {"model": "text-embedding-3-small", "input": "Hello"},
                answer,
            )
        },
        "/images/generations": {
            "post": _call(
                "CreateImage",
                "Let a model draw, and charge each image.",
                "ImageRequest",
                {"model": "dall-e-3", "prompt": "A ledger", "n": 1},
                answer,
            )
        },
        "/models": {
            "get": _operation(
                "ListModels", "Show the models on offer.", models, _llm_refusals(), headers=_CALLED
            )
        },
        "/models/{model}": {
            "get": _operation(
                "GetModel",
                "Show a model on offer.",
                _json(_ref("LlmModel")),
                _llm_refusals(),
                headers=_CALLED,
                parameters=(_parameter("model", "path", _TEXT | {"minLength": 1}, "Its name."),),
            )
        },
        "/organizations/{org_id}/keys": {
            "get": _operation(
                "ListProviderKeys",
                "Show which keys of providers an organisation has: never the keys themselves.",
                keys,
                _llm_refusals(422),
                parameters=(_ORG_ID,),
            )
        },
        "/organizations/{org_id}/keys/{provider}": {
            "put": _operation(
                "KeepProviderKey",
                "Keep an organisation's own key of a provider, encrypted.",
                key,
                _llm_refusals(*_WITH_BODY, 422, 501),
                parameters=(_ORG_ID, _PROVIDER),
                body=secret | {"additionalProperties": False},
                example={"api_key": "sk-0123456789abcdef"},
            ),
            "delete": _operation(
                "DropProviderKey",
                "Forget an organisation's own key of a provider.",
                _json(_object({"success": {"const": True}})),
                _llm_refusals(422),
                parameters=(_ORG_ID, _PROVIDER),
            ),
        },
    }


def _payment_paths() -> Json:
    org_id = _parameter(
        "org_id", "query", TypeAdapter(OrgId).json_schema(), "An organisation that the caller manages."
    )
    signature = _parameter(SIGNATURE_HEADER, "header", _TEXT, "Stripe's, of the raw body.", required=True)
    return {
        "/create-checkout-session": {
            "post": _operation(
                "CreateCheckoutSession",
                "Open a checkout for the caller, or for an organisation that the caller manages.",
                _json(_ref("Checkout")),
                _problems(*_WITH_BODY, 401, 403, 404, 422, 429, 503),
                body=_ref("CheckoutRequest"),
                example={
                    "price_id": "price_123",
                    "success_url": "https://app.example/done",
                    "cancel_url": "https://app.example/back",
                },
            )
        },
        "/products": {
            "get": _operation(
                "ListProducts",
                "Show what is for sale, to everybody.",
                _json(_list_of(_ref("Product"))),
                _problems(406, 429, 503),
            )
            | _NOTHING
        },
        "/user-subscriptions": {
            "get": _operation(
                "ListOwnSubscriptions",
                "Show the caller's subscriptions, or those of an organisation that the caller manages.",
                _json(_list_of({"type": "object"})),
                _problems(401, 403, 404, 406, 422, 429, 503),
                parameters=(org_id,),
            )
        },
        "/webhook": {
            "post": _operation(
                "ReceiveStripeEvent",
                "Apply an event of Stripe, once however often it is delivered.",
                _json(_ref("AppliedEvent")),
                _problems(400, 408, 413, 422, 429, 503),
                parameters=(signature,),
                body={"type": "object"},
                example={"id": "evt_1", "object": "event", "type": "checkout.session.completed"},
            )
            | _NOTHING
        },
    }


def _health_paths() -> Json:
    alive = _json(_ref("Alive"))
    live = _operation("Live", "Say whether the process lives.", alive, {})
    ready = _operation("Ready", "Say whether a charge would work.", alive, _problems(503))
    figures = _operation("Metrics", "Show figures for Prometheus.", {"text/plain": {"schema": _TEXT}}, {})
    return {
        "/healthz": {"get": live | _NOTHING},
        "/readyz": {"get": ready | _NOTHING},
        "/metrics": {"get": figures | _NOTHING},
    }


PATHS: Json = {
    **{BASE_PATH + path: operations for path, operations in _llm_paths().items()},
    **{PAYMENTS_PATH + path: operations for path, operations in _payment_paths().items()},
    **_health_paths(),
}
"""The operations by path and method."""
