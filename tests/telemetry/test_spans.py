"""What an application that uses OpenTelemetry sees of its charges; one that does not loads nothing of it."""

import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
import respx
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from credit_sdk import Account, CreditDeductionService, CreditError, InsufficientCreditsError, _telemetry
from credit_sdk.testing import FakeCredits


class Seen:
    """The spans and the metrics of one test."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meters = MeterProvider([self._reader])

    def spans(self) -> dict[str, ReadableSpan]:
        """The finished spans by name."""
        return {span.name: span for span in self._spans.get_finished_spans()}

    def sums(self, name: str) -> dict[str, float]:
        """The sums of a counter by the outcome, or by the service where there is none."""
        data = self._reader.get_metrics_data()
        return {
            str(
                point.attributes.get("credits.outcome", point.attributes["credits.service_type"])
            ): point.value
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        }


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """What reaches the providers, of which a process has one: they are replaced where they are asked for."""
    telemetry = Seen()
    monkeypatch.setattr(trace, "get_tracer", telemetry.tracers.get_tracer)
    monkeypatch.setattr(metrics, "get_meter", telemetry.meters.get_meter)
    _telemetry._instruments.cache_clear()
    yield telemetry
    _telemetry._instruments.cache_clear()


@pytest.fixture
def fake() -> Iterator[FakeCredits]:
    with FakeCredits() as books:
        yield books


def test_a_charge_is_a_span_with_its_requests_in_it(seen: Seen, fake: FakeCredits) -> None:
    ada, billing = fake.member("ada"), fake.service()
    with billing.charge(ada, 5, service_type="print", request_id="job-7"):
        pass
    spans = seen.spans()
    charge = spans["credits.charge"]
    assert dict(charge.attributes or {}) == {
        "credits.service_type": "print",
        "credits.request_id": "job-7",
        "credits.user_id": "ada",
        "credits.org_id": "acme",
        "credits.outcome": "charged",
        "credits.used": 5.0,
    }
    for name in ("credits.PlaceHold", "credits.CaptureHold"):
        parent = spans[name].parent
        assert parent is not None
        assert parent.span_id == charge.context.span_id


@pytest.mark.anyio
async def test_an_awaited_charge_too(seen: Seen, fake: FakeCredits) -> None:
    ada, billing = fake.member("ada"), fake.async_service()

    @billing.billable("print", cost=5)
    async def work(account: Account) -> None:
        with seen.tracers.get_tracer("app").start_as_current_span("work"):
            pass

    with seen.tracers.get_tracer("app").start_as_current_span("request"):
        await work(ada)
    spans = seen.spans()
    caller = spans["request"].context.span_id
    for name in ("credits.charge", "work"):
        parent = spans[name].parent
        assert parent is not None
        assert parent.span_id == caller


def test_outcomes_are_counted(seen: Seen, fake: FakeCredits) -> None:
    ada, billing = fake.member("ada", credits=10), fake.service()
    with billing.charge(ada, 4, service_type="print"):
        pass
    with pytest.raises(InsufficientCreditsError), billing.charge(ada, 40, service_type="print"):
        pass
    with pytest.raises(LookupError), billing.charge(ada, 4, service_type="print"):
        raise LookupError
    fake.faults.unreachable("capture", times=9)
    with billing.charge(ada, 2, service_type="print"):
        pass
    assert seen.sums("credits.charges") == {
        "charged": 1,
        "insufficient_credits": 1,
        "failed": 1,
        "pending": 1,
    }
    assert seen.sums("credits.used") == {"print": 4.0}


def test_an_error_names_its_code_and_no_text(seen: Seen, fake: FakeCredits) -> None:
    ada, billing = fake.member("ada", credits=10), fake.service()
    with pytest.raises(InsufficientCreditsError):
        billing.deduct(ada, 40, service_type="print")
    span = seen.spans()["credits.Deduct"]
    assert (span.attributes or {})["error.type"] == "insufficient_credits"
    assert not span.events
    assert span.status.description is None


@respx.mock
def test_a_request_to_a_server_carries_the_trace(seen: Seen) -> None:
    route = respx.get(path__regex=".*").mock(return_value=httpx.Response(404))
    spans = seen.tracers.get_tracer("app").start_as_current_span("request")
    with CreditDeductionService("https://ops.example", api_key="k", outbox=False) as billing, spans as caller:
        with pytest.raises(CreditError):
            billing.pool("acme")
        trace_id = f"{caller.get_span_context().trace_id:032x}"
    assert route.call_count == 1
    assert {call.request.headers["traceparent"].split("-")[1] for call in route.calls} == {trace_id}


def test_an_application_without_opentelemetry_loads_nothing_of_it() -> None:
    program = """
import sys
from credit_sdk.testing import FakeCredits

with FakeCredits() as fake:
    ada, billing = fake.member("ada"), fake.service()
    with billing.charge(ada, 5, service_type="print"):
        pass
    fake.assert_charged(5)
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    subprocess.run([sys.executable, "-c", program], check=True)
