"""What the server counts about itself, for Prometheus: `GET /metrics`.

With several worker processes each writes its figures into files of a common folder, which
`PROMETHEUS_MULTIPROC_DIR` names, and any of them answers for all.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from opentelemetry.trace import get_current_span
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)
from starlette.requests import Request
from starlette.responses import Response

from credit_sdk import _telemetry
from credit_sdk.backends.sql import Actor
from credit_sdk.errors import CreditError
from credit_sdk.operations import Operation, ResultT_co
from reference_server.access import Ledger

_NOTHING: AbstractContextManager[None] = nullcontext()
_PEER = {"db.system.name": "postgresql"}
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Figures:
    """The counters of one application. Labels have few values: no organisations, users or ids."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "credits_http_requests",
            "Requests by what answered.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self.request_seconds = Histogram(
            "credits_http_request_seconds",
            "How long answers took.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.requests_in_flight = Gauge(
            "credits_http_requests_in_flight",
            "Requests that are not answered yet.",
            multiprocess_mode="livesum",
            registry=self._registry,
        )
        self.operations = Counter(
            "credits_operations",
            "Operations on the ledger by outcome: ok, or the code of the error.",
            ["operation", "outcome"],
            registry=self._registry,
        )
        self.operation_seconds = Histogram(
            "credits_operation_seconds",
            "How long the ledger took.",
            ["operation"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        # To look a counter up by its labels costs more than to count.
        self._of_requests: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._of_operations: dict[tuple[str, str], tuple[Counter, Histogram]] = {}

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        found = self._of_requests.get((method, route, status))
        if found is None:
            found = self.requests.labels(method, route, status), self.request_seconds.labels(method, route)
            self._of_requests[method, route, status] = found
        count, durations = found
        count.inc()
        durations.observe(seconds)

    def carried_out(self, operation: str, outcome: str, seconds: float) -> None:
        """Count an operation on the ledger."""
        found = self._of_operations.get((operation, outcome))
        if found is None:
            found = self.operations.labels(operation, outcome), self.operation_seconds.labels(operation)
            self._of_operations[operation, outcome] = found
        count, durations = found
        count.inc()
        durations.observe(seconds)

    async def metrics(self, _: Request) -> Response:
        """Answer with the figures, of all processes."""
        registry = self._registry
        if os.environ.get(FOLDER_VARIABLE):
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


@dataclass(frozen=True, slots=True)
class MeasuredLedger:
    """A ledger whose operations are counted."""

    ledger: Ledger
    figures: Figures

    async def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Return the operation's result."""
        outcome, began = "ok", perf_counter()
        try:
            with self._traced(operation):
                return await self.ledger.execute(operation)
        except CreditError as error:
            outcome = error.code
            raise
        except BaseException:
            outcome = "failed"
            raise
        finally:
            self.figures.carried_out(type(operation).__name__, outcome, perf_counter() - began)

    def _traced(self, operation: Operation[Any]) -> AbstractContextManager[None]:
        """Return a block in which the SQL is a span of the request's trace, if that is recorded."""
        recorded = get_current_span().is_recording()
        return _telemetry.request(operation, _PEER) if recorded else _NOTHING

    def on_behalf_of(self, actor: Actor) -> "MeasuredLedger":
        """Return the same ledger, whose audit names the actor."""
        return MeasuredLedger(self.ledger.on_behalf_of(actor), self.figures)
