"""Spans and metrics for OpenTelemetry, in applications that use it.

Nothing is imported here: an application that traces has imported `opentelemetry` before its first charge,
and for every other one the question whether it has is all that this costs. Names follow OpenTelemetry's
semantic conventions where there are some; amounts are credits.
"""

import sys
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from credit_sdk.errors import CreditError
from credit_sdk.operations import Operation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping
    from decimal import Decimal

    from opentelemetry.trace import Span

SCOPE = "credit_sdk"
_NOTHING: AbstractContextManager[None] = nullcontext()


class Charge(Protocol):
    """What is said about a charge."""

    service_type: str
    user_id: str
    org_id: str | None
    request_id: str


def is_on() -> bool:
    """Whether the application has OpenTelemetry."""
    return "opentelemetry.trace" in sys.modules


def inject(headers: "MutableMapping[str, str]") -> None:
    """Add the headers that carry the current span to a server, such as `traceparent`."""
    if is_on():
        from opentelemetry import propagate  # noqa: PLC0415

        propagate.inject(headers)


@contextmanager
def request(operation: Operation[Any], peer: "Mapping[str, str]") -> "Iterator[None]":
    """Trace one request to the books, and count how long it took. Call it only if telemetry is on."""
    from opentelemetry.trace import SpanKind, StatusCode, get_tracer  # noqa: PLC0415

    name = type(operation).__name__
    labels: dict[str, Any] = {"credits.operation": name}
    spans = get_tracer(SCOPE)
    began = perf_counter()
    with spans.start_as_current_span(
        f"credits.{name}",
        kind=SpanKind.CLIENT,
        attributes=labels | dict(peer),
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield
        except BaseException as error:
            labels["error.type"] = _kind_of(error)
            span.set_attribute("error.type", labels["error.type"])
            span.set_status(StatusCode.ERROR)
            raise
        finally:
            _instruments().duration.record(perf_counter() - began, labels)


class ChargeSpan:
    """The span of one charge, from before its hold to after its capture.

    It is current while the books are asked, not while the caller's work runs: a generator would leave
    it behind in its consumer.
    """

    def __init__(self, charge: Charge) -> None:
        self._charge = charge
        self._span: Span | None = None

    def active(self) -> AbstractContextManager[None]:
        """Return a block in which requests to the books belong to this charge; one that raises ends it."""
        return self._active() if is_on() else _NOTHING

    @contextmanager
    def _active(self) -> "Iterator[None]":
        from opentelemetry.trace import get_tracer, use_span  # noqa: PLC0415

        if self._span is None:
            about = {
                "credits.service_type": self._charge.service_type,
                "credits.request_id": self._charge.request_id,
                "credits.user_id": self._charge.user_id,
            }
            if self._charge.org_id is not None:
                about["credits.org_id"] = self._charge.org_id
            self._span = get_tracer(SCOPE).start_span("credits.charge", attributes=about)
        try:
            with use_span(self._span, record_exception=False, set_status_on_exception=False):
                yield
        except BaseException as error:
            self.end(_outcome_of(error))
            raise

    def end(self, outcome: str, credits_used: "Decimal | None" = None) -> None:
        """Say what became of the charge: charged, pending, nothing, failed, or the code of a refusal."""
        if self._span is None:
            return
        self._span.set_attribute("credits.outcome", outcome)
        labels = {"credits.service_type": self._charge.service_type, "credits.outcome": outcome}
        _instruments().charges.add(1, labels)
        if credits_used is not None:
            self._span.set_attribute("credits.used", float(credits_used))
            _instruments().credits.add(
                float(credits_used), {"credits.service_type": self._charge.service_type}
            )
        self._span.end()
        self._span = None


class _Instruments:
    def __init__(self) -> None:
        from opentelemetry.metrics import get_meter  # noqa: PLC0415

        meter = get_meter(SCOPE)
        self.charges = meter.create_counter(
            "credits.charges", unit="{charge}", description="Charges by what became of them."
        )
        self.credits = meter.create_counter(
            "credits.used", unit="{credit}", description="Credits that were charged."
        )
        self.duration = meter.create_histogram(
            "credits.operation.duration", unit="s", description="How long requests to the books took."
        )


@lru_cache(maxsize=1)
def _instruments() -> _Instruments:
    return _Instruments()


def _outcome_of(error: BaseException) -> str:
    """Return how a charge ended that raised: the code of a refusal, or `failed`."""
    return error.code if isinstance(error, CreditError) else "failed"


def _kind_of(error: BaseException) -> str:
    return error.code if isinstance(error, CreditError) else type(error).__qualname__
