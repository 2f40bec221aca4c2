"""Take many charges, as many at a time as one request may carry."""

from credit_sdk._flows.retrying import Retries, retrying
from credit_sdk._flows.steps import Flow
from credit_sdk.models import BatchOutcome, BatchResult
from credit_sdk.operations import LARGEST_BATCH, Deduct, DeductBatch, parse


def deducting_many(charges: tuple[Deduct, ...], retries: Retries) -> Flow[BatchResult]:
    """Answer the outcomes of all charges, in their order; what was sent before an error is charged."""
    # All are checked before the first is sent.
    batches = [
        parse(DeductBatch, {"charges": charges[start : start + LARGEST_BATCH]})
        for start in range(0, len(charges) or 1, LARGEST_BATCH)
    ]
    outcomes: list[BatchOutcome] = []
    for batch in batches:
        result = yield from retrying(batch, retries)
        outcomes.extend(result.outcomes)
    return BatchResult(outcomes=tuple(outcomes))
