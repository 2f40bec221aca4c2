"""Attacks on the addresses that the OpenAPI document describes, by a program that has read it."""

from __future__ import annotations

from typing import Any

import hypothesis
import schemathesis
from hypothesis import settings

from reference_server.openapi import openapi

SOAK = hypothesis.settings.get_current_profile_name() == "soak"
EXAMPLES = 100 if SOAK else 2

bounded = settings(
    max_examples=EXAMPLES,
    derandomize=not SOAK,
    deadline=None,
    database=None,
    # Requests leave traces, so that a smaller one would not fail in the same way.
    phases=[hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)


def described(paths: str) -> Any:
    """Return what the document says of the paths that a pattern finds."""
    schema = schemathesis.openapi.from_dict(openapi()).include(path_regex=paths)
    schema.config.generation.update(with_security_parameters=False)
    # What schemathesis guesses leads to requests that lack a part of their path: follow what is written.
    schema.config.phases.stateful.inference.algorithms = []
    return schema


def operations_of(schema: Any) -> dict[str, Any]:
    """Return the operations by name."""
    found = (each.ok() for each in schema.get_all_operations())
    return {operation.definition.raw["operationId"]: operation for operation in found}


def is_not_http(answer: schemathesis.Response) -> bool:
    """Whether the request did not get as far as the server, which marks all its answers."""
    if "x-request-id" in answer.headers:
        return False
    assert (answer.status_code, answer.text) == (400, "Invalid HTTP request received.")
    return True
