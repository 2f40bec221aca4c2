"""What a lost answer means: a question changes nothing, so that nothing is unknown about its outcome."""

from typing import Any

from credit_sdk.errors import CreditError, OutcomeUnknownError, UnavailableError
from credit_sdk.operations import Operation


def outcome_error(error: CreditError, operation: Operation[Any]) -> CreditError:
    """Return the error to raise for an operation; a question was just not answered."""
    if not (operation.is_question and isinstance(error, OutcomeUnknownError)):
        return error
    return UnavailableError(error.detail, retry_after=error.retry_after, request_id=error.request_id)
