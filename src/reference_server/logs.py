"""The server's log: a line for each event, as text for people or as JSON for programs."""

import logging
import sys

from opentelemetry.trace import get_current_span
from pythonjsonlogger.json import JsonFormatter

from reference_server.middleware import current_request
from reference_server.settings import LogFormat

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_JSON = "%(levelname)s %(name)s %(message)s"


def configure_logs(log_format: LogFormat, *, requests: bool) -> None:
    """Let this process write its log to standard error; `requests` is a line for each of them."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_add_context)
    handler.setFormatter(_formatter(log_format))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("reference_server.requests").setLevel(logging.INFO if requests else logging.WARNING)


def _formatter(log_format: LogFormat) -> logging.Formatter:
    if log_format == "text":
        return logging.Formatter(_TEXT)
    return JsonFormatter(_JSON, timestamp=True, rename_fields={"levelname": "level", "name": "logger"})


def _add_context(record: logging.LogRecord) -> bool:
    """Add the ids by which a line, an answer and a trace are found together."""
    request_id = current_request.get()
    if request_id is not None:
        record.request_id = request_id
    span = get_current_span().get_span_context()
    if span.is_valid:
        record.trace_id = f"{span.trace_id:032x}"
    return True
