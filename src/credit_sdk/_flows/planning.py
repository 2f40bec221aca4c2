"""What is to be charged, as far as it is known, and the requests that follow from it."""

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from pydantic import JsonValue

from credit_sdk._ledgers import hold_fields, ledger_of, payer_fields
from credit_sdk.amounts import SMALLEST_AMOUNT
from credit_sdk.errors import ValidationFailedError
from credit_sdk.identifiers import new_entry_id, new_request_id
from credit_sdk.models import CreditCheck, Hold, PendingCharge, Receipt, WorkOutcome
from credit_sdk.operations import DEFAULT_HOLD_SECONDS, Operation, parse
from credit_sdk.policy import ChargePolicy
from credit_sdk.redaction import redact

logger = logging.getLogger("credit_sdk")


@dataclass(slots=True)
class ChargePlan:
    """What is to be charged. The caller's work may still change `credits` and `metadata` while it runs.

    `estimate` is held before the work runs, `credits` is taken after it; both in credits. Without an
    `org_id` the user's own balance pays, which also keeps a `description`.
    """

    org_id: str | None
    user_id: str
    service_type: str
    estimate: Decimal
    credits: Decimal
    service_name: str | None = None
    request_id: str = field(default_factory=new_request_id)
    metadata: dict[str, JsonValue] = field(default_factory=dict)
    ttl_seconds: int = DEFAULT_HOLD_SECONDS
    description: str | None = None
    policy: ChargePolicy = field(default_factory=ChargePolicy)
    probed: bool = False
    """Whether the service has a probe for the operation."""
    is_own_id: bool = False
    """Whether the request id is the caller's own."""
    can_be_kept: bool = True
    """Whether there may be an outbox; without one, what it would keep is not even written down."""
    hold: Hold | None = None
    is_kept: bool = False
    """Whether the outbox has it."""
    is_unpaid: bool = False
    """Whether the work was let run while the books were away: then a refusal leaves a debt."""
    is_pending: bool = False
    """Whether the work succeeded and the charge is left to the outbox."""
    named: str | None = None
    """Its name in the outbox, once it has one."""

    @property
    def entry_id(self) -> str:
        """What names it in the outbox. Most charges are never asked for it, and making it takes a while."""
        if self.named is None:
            self.named = new_entry_id()
        return self.named

    @classmethod
    def of_pending(cls, pending: PendingCharge) -> "ChargePlan":
        """Return the plan that a record of the outbox was made of."""
        return cls(
            org_id=pending.org_id,
            user_id=pending.user_id,
            service_type=pending.service_type,
            service_name=pending.service_name,
            estimate=pending.estimate,
            credits=pending.credits,
            request_id=pending.request_id,
            metadata=dict(pending.metadata),
            ttl_seconds=pending.ttl_seconds,
            description=pending.description,
            hold=_pending_hold(pending),
            named=pending.entry_id,
            probed=pending.probed,
            is_kept=True,
        )

    def pending(self, outcome: WorkOutcome) -> PendingCharge:
        """Return what the outbox keeps of this charge."""
        return PendingCharge(
            entry_id=self.entry_id,
            outcome=outcome,
            org_id=self.org_id,
            user_id=self.user_id,
            service_type=self.service_type,
            service_name=self.service_name,
            request_id=self.request_id,
            credits=self.credits,
            estimate=self.estimate,
            ttl_seconds=self.ttl_seconds,
            description=self.description,
            metadata=redact(self.metadata),
            hold_id=self.hold.hold_id if self.hold else None,
            expires_at=self.hold.expires_at if self.hold else None,
            on_crash=self.policy.on_crash,
            on_unknown=self.policy.on_unknown,
            probed=self.probed,
            created_at=datetime.now(UTC),
        )

    def hold_request(self) -> Operation[Hold]:
        """Return the hold to place; what could not be charged afterwards is refused here."""
        fields = {
            "credits": self.estimate,
            "ttl_seconds": self.ttl_seconds,
            "request_metadata": self.metadata,
        }
        return parse(ledger_of(self.org_id).place, self._common_fields() | fields)

    def check_request(self) -> Operation[CreditCheck]:
        """Return the question whether the estimate would be covered now."""
        payer = payer_fields(self.org_id, self.user_id)
        return parse(ledger_of(self.org_id).check, payer | {"credits": self.estimate})

    def deduct_request(self, credits: Decimal) -> Operation[Receipt]:
        """Return the charge as one that needs no hold."""
        fields = {"credits": credits, "request_metadata": self.metadata}
        return parse(ledger_of(self.org_id).deduct, self._common_fields() | fields)

    def capture_request(self, hold: Hold) -> Operation[Receipt]:
        """Return the capture of the hold, for what the work has cost."""
        fields = {"credits": self.credits, "request_metadata": self.metadata}
        return parse(ledger_of(hold.org_id).capture, hold_fields(hold) | fields)

    def void_request(self, hold: Hold) -> Operation[Hold]:
        """Return the hold's end without a charge."""
        return parse(ledger_of(hold.org_id).void, hold_fields(hold))

    def drop_unkeepable_metadata(self) -> None:
        """Leave out what the work has set and cannot be kept: the work is charged all the same."""
        if not self.metadata:
            return
        try:
            self.deduct_request(SMALLEST_AMOUNT)
        except ValidationFailedError as error:
            logger.warning("The metadata of charge %s is not kept: %s", self.request_id, error)
            self.metadata = {"metadata_not_kept": str(error)}

    def _common_fields(self) -> dict[str, object]:
        fields = payer_fields(self.org_id, self.user_id)
        if self.description is not None:
            fields["description"] = self.description
        names = ("service_type", "service_name", "request_id")
        return fields | {name: getattr(self, name) for name in names}


def _pending_hold(pending: PendingCharge) -> Hold | None:
    """Return the hold as it was when the record was written; the books know what became of it."""
    if pending.hold_id is None or pending.expires_at is None:
        return None
    return Hold(
        hold_id=pending.hold_id,
        org_id=pending.org_id,
        user_id=pending.user_id,
        credits=pending.estimate,
        captured_credits=Decimal(0),
        status="held",
        service_type=pending.service_type,
        service_name=pending.service_name,
        request_id=pending.request_id,
        expires_at=pending.expires_at,
        created_at=pending.created_at,
    )
