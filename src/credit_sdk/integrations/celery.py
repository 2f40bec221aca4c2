"""Celery: a task that is charged once, however often it is retried or delivered."""

from collections.abc import Callable
from typing import Any

from celery import Celery, current_task

from credit_sdk.errors import ConfigurationError
from credit_sdk.identifiers import new_request_id
from credit_sdk.service import CreditDeductionService


def billable_task(
    app: Celery,
    billing: CreditDeductionService,
    service_type: str,
    *,
    task: dict[str, Any] | None = None,
    **charge: Any,
) -> Callable[[Callable[..., Any]], Any]:
    """Make a function a task of `app` that is charged when it succeeds.

    `charge` is what `billing.billable` takes, `task` what `app.task` takes. The task's id is the charge's
    request id: a retry keeps it, so that an attempt that fails costs nothing, the one that succeeds is
    charged, and a task that is delivered again after its worker died is not charged again. Arguments of
    tasks are JSON, so name the payer with `account=`, a function of the arguments.
    """
    if "request_id" in charge:
        raise ConfigurationError("The id of the task is the request id of its charge: leave request_id= out.")

    def decorate(function: Callable[..., Any]) -> Any:
        charged = billing.billable(service_type, request_id=_request_id, **charge)(function)
        return app.task(**task or {})(charged)

    return decorate


def _request_id() -> str:
    """Return the running task's id; a new one where it is called as a plain function."""
    task_id = current_task.request.id if current_task else None
    return f"celery-{task_id}" if task_id else new_request_id()
