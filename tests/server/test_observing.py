"""What an operator sees of a server: figures, log lines and traces, and whether a charge would work."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families
from psycopg import sql

from credit_sdk import Account, CreditDeductionService
from reference_server import observing
from reference_server.logs import configure_logs
from tests.server.test_serving import environment, eventually, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.server.conftest import Organization, Running, StartServer
    from tests.server.test_serving import Serve

__all__ = ["environment", "serve"]

DEDUCT = "/api/v1/org-billing/credits/deduct"


def figures(text: str) -> dict[tuple[str, ...], float]:
    """Return the samples by name and labels, as Prometheus reads them."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_figures_count_answers_and_operations(server: Running, organization: Organization) -> None:
    def counted() -> list[float]:
        found = figures(server.get("/metrics").text)
        names = (
            ("credits_http_requests_total", "POST", DEDUCT, "200"),
            ("credits_http_requests_total", "POST", DEDUCT, "402"),
            ("credits_http_requests_total", "GET", "unknown", "404"),
            ("credits_operations_total", "Deduct", "ok"),
            ("credits_operations_total", "Deduct", "insufficient_credits"),
            ("credits_http_request_seconds_count", "POST", DEDUCT),
        )
        return [found.get(name, 0.0) for name in names]

    before = counted()
    for credits in (1, 2, 1_000):
        server.post("credits/deduct", organization.charge(credits=credits), key=organization.keys["consume"])
    server.get("/no/such/place")
    assert [after - earlier for after, earlier in zip(counted(), before, strict=True)] == [2, 1, 1, 2, 1, 3]


def test_figures_name_nobody(server: Running, organization: Organization) -> None:
    server.get(f"credits/{organization.org_id}", bearer=organization.sessions["owner"])
    text = server.get("/metrics").text
    assert "/credits/{org_id}" in text
    assert organization.org_id not in text


def test_all_workers_answer_for_all(serve: Serve, application_url: str) -> None:
    process = serve("--workers", "2", "--database-url", application_url)

    def asked() -> float:
        # Each request on a connection of its own, for either worker to take.
        found = figures(httpx.get(f"{process.base_url}/metrics").text)
        return found.get(("credits_http_requests_total", "GET", "/healthz", "200"), 0.0)

    before = asked()
    for _ in range(20):
        httpx.get(f"{process.base_url}/healthz")
    assert {asked() - before for _ in range(5)} == {20.0}


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The lines of a log in JSON."""
    root, requests = logging.getLogger(), logging.getLogger("reference_server.requests")
    before = list(root.handlers), root.level, requests.level
    lines = io.StringIO()
    monkeypatch.setattr("sys.stderr", lines)
    configure_logs("json", requests=True)
    yield lambda: [json.loads(line) for line in lines.getvalue().splitlines()]
    root.handlers, root.level, requests.level = before
    logging.getLogger().manager._clear_cache()  # type: ignore[attr-defined]


def test_a_line_for_every_request_has_its_id(
    server: Running, organization: Organization, written: Callable[[], list[dict[str, Any]]]
) -> None:
    server.get(
        f"credits/{organization.org_id}",
        bearer=organization.sessions["owner"],
        headers={"X-Request-ID": "find-me"},
    )
    eventually(lambda: bool(written()))
    [line] = [line for line in written() if line.get("request_id") == "find-me"]
    assert line["message"] == "GET /api/v1/org-billing/credits/{org_id} 200"
    assert (line["level"], line["status"]) == ("INFO", 200)
    assert line["milliseconds"] > 0
    assert organization.org_id not in json.dumps(line)


def test_warnings_have_the_id_too(
    start_server: StartServer, written: Callable[[], list[dict[str, Any]]]
) -> None:
    away = start_server(database_url="postgresql://nobody@127.0.0.1:1/books")
    bearer = "cst_" + "x" * 43
    away.get("billing/user", bearer=bearer, headers={"X-Request-ID": "lost"})
    eventually(lambda: any(line.get("request_id") == "lost" for line in written()))
    assert any(line["level"] == "WARNING" for line in written() if line.get("request_id") == "lost")


def test_a_trace_leads_from_the_application_to_the_sql(
    server: Running, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    monkeypatch.setattr(observing, "_tracer", provider.get_tracer("reference_server"))
    with CreditDeductionService(
        server.base_url, api_key=organization.keys["consume"], outbox=False
    ) as billing:
        account = Account(org_id=organization.org_id, user_id=organization.member)
        with provider.get_tracer("app").start_as_current_span("application"):
            billing.deduct(account, 1, service_type="contact_lookup")
    spans = {span.context.span_id: span for span in exported.get_finished_spans()}
    sql_span = next(
        span
        for span in spans.values()
        if (span.attributes or {}).get("db.system.name") == "postgresql" and span.name == "credits.Deduct"
    )
    path = [sql_span]
    while path[-1].parent is not None:
        path.append(spans[path[-1].parent.span_id])
    assert [span.name for span in path] == [
        "credits.Deduct",
        f"POST {DEDUCT}",
        "credits.Deduct",
        "application",
    ]
    assert (path[1].attributes or {})["http.response.status_code"] == 200


# --- readiness ----------------------------------------------------------------------------------------


def test_a_database_that_can_only_be_read_is_not_ready(
    start_server: StartServer, application_url: str, database_url: str
) -> None:
    """As a standby is, or a primary whose disk is being looked after."""
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    with psycopg.connect(database_url, autocommit=True) as owner:
        statement = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on")
        owner.execute(statement.format(sql.Identifier(str(name))))
    server = start_server(database_url=application_url)
    answer = server.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert server.get("/healthz").status_code == 200


def test_a_role_that_may_not_charge_is_not_ready(
    start_server: StartServer, application_url: str, database_url: str
) -> None:
    server = start_server(database_url=application_url)
    assert server.get("/readyz").status_code == 200
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("REVOKE EXECUTE ON FUNCTION ledger.deduct FROM credits_app")
    assert server.get("/readyz").status_code == 503
