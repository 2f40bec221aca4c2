"""What the SDK does, as generators that yield steps and never touch the network, a file or a clock.

A flow yields an operation to have it carried out, `Sleep` to wait, `Perform` to let the caller's own
work run, `Keep`, `Forget` or `HandOver` to use the outbox; it receives what the step produced. The
runners in `_runners.py` carry the steps out, one blocking, one awaiting; tests step flows by hand and
fail any step they like.
"""

from credit_sdk._flows.charging import HoldSupport, charging, deducting_afterwards
from credit_sdk._flows.deducting import deducting_many
from credit_sdk._flows.delivering import delivering, verdict_on
from credit_sdk._flows.growing import Growth, growing
from credit_sdk._flows.holding import Action, acting_on
from credit_sdk._flows.planning import ChargePlan
from credit_sdk._flows.retrying import Retries, retrying, sending_again
from credit_sdk._flows.selecting import require_known, selecting_account
from credit_sdk._flows.steps import Failed, Flow, Forget, HandOver, Keep, Perform, Recall, Safekeeping, Sleep

__all__ = [
    "Action",
    "ChargePlan",
    "Failed",
    "Flow",
    "Forget",
    "Growth",
    "HandOver",
    "HoldSupport",
    "Keep",
    "Perform",
    "Recall",
    "Retries",
    "Safekeeping",
    "Sleep",
    "acting_on",
    "charging",
    "deducting_afterwards",
    "deducting_many",
    "delivering",
    "growing",
    "require_known",
    "retrying",
    "selecting_account",
    "sending_again",
    "verdict_on",
]
