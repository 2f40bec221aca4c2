"""`with billing.charge(...)`: credits are held on entry, captured on success, given back on failure."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from types import TracebackType
from typing import Any, Self, cast

from pydantic import JsonValue

from credit_sdk._flows import ChargePlan, Failed, Growth, Retries, growing
from credit_sdk._runners import AsyncRun, Run, run
from credit_sdk._telemetry import ChargeSpan
from credit_sdk.amounts import Amount, parse_price
from credit_sdk.errors import ConfigurationError, ConflictError
from credit_sdk.models import Hold, Receipt
from credit_sdk.policy import ChargePolicy


class Terms:
    """What a charge under way will take. The code that performs the operation may change it."""

    _receipt: Receipt | None = None
    _cost_was_set = False
    _has_ended = False
    _is_delivered = False
    _span: ChargeSpan

    def __init__(self, plan: ChargePlan, make_run: Callable[[], Any]) -> None:
        """`make_run` is called when the charge is entered, unless a lease pays it: then nothing is run."""
        self._plan = plan
        self._make_run: Callable[[], Any] | None = make_run

    @property
    def credits(self) -> Decimal:
        """What will be taken on success, in credits. Zero takes nothing."""
        return self._plan.credits

    @credits.setter
    def credits(self, cost: Amount) -> None:
        self._plan.credits = parse_price(cost)
        self._cost_was_set = True

    @property
    def metadata(self) -> dict[str, JsonValue]:
        """Kept with the charge; secrets are redacted before they leave the process."""
        return self._plan.metadata

    @metadata.setter
    def metadata(self, metadata: Mapping[str, JsonValue]) -> None:
        self._plan.metadata = dict(metadata)

    @property
    def policy(self) -> ChargePolicy:
        """What happens when something goes wrong."""
        return self._plan.policy

    @property
    def request_id(self) -> str:
        """What makes this charge one, however often it is sent."""
        return self._plan.request_id

    @property
    def hold(self) -> Hold | None:
        """The credits set aside; None before the block, and where there are no holds."""
        return self._plan.hold

    @property
    def receipt(self) -> Receipt:
        """What was taken.

        Raises `ConflictError` while it is not settled yet (`is_pending`), `ConfigurationError` if nothing was
        taken.
        """
        if self._receipt is None and self.is_pending:
            raise ConflictError(
                f"Charge {self.request_id} is not settled yet, so there is no receipt: {self._kept_where}. "
                "`is_pending` says so without an error."
            )
        if self._receipt is None:
            raise ConfigurationError(
                "There is no receipt: the operation failed or cost nothing, so nothing was taken."
                if self._has_ended
                else "There is no receipt: the charge is not complete."
            )
        return self._receipt

    @property
    def _kept_where(self) -> str:
        return "it is in the outbox, and delivered in the background; `flush_outbox()` does so now"

    @property
    def is_charged(self) -> bool:
        """Whether credits were taken, so that there is a receipt."""
        return self._receipt is not None

    @property
    def is_pending(self) -> bool:
        """Whether the operation succeeded and its charge is in the outbox, to be delivered later."""
        return self._plan.is_pending

    def settle(self, cost: Amount) -> None:
        """Set the cost that was worked out from the result, unless the operation itself has set one."""
        if not self._cost_was_set:
            self._plan.credits = parse_price(cost, argument="cost")

    def settle_early(self, cost: Amount) -> None:
        """Charge what a stream has delivered before it ended early, if the policy says so."""
        if self._plan.policy.on_early_end == "charge":
            self.settle_delivered(cost)

    def settle_delivered(self, cost: Amount) -> None:
        """Charge what a stream has delivered, also when it ends in an exception."""
        self.settle(cost)
        self._is_delivered = True

    def _failure(self, error: BaseException | None) -> Failed | None:
        return None if error is None or self._is_delivered else Failed(error)

    def _end_span(self, error: BaseException | None) -> None:
        if self._receipt is not None:
            self._span.end("charged", self._receipt.credits_used)
        elif self.is_pending:
            self._span.end("pending")
        else:
            self._span.end("nothing" if error is None else "failed")

    def _new_run(self) -> Any:
        if self._make_run is None:
            raise ConfigurationError("A charge can be entered once; make a new one for each operation.")
        make_run, self._make_run = self._make_run, None
        self._span = ChargeSpan(self._plan)
        return make_run()

    def __repr__(self) -> str:
        plan = self._plan
        return f"<{type(self).__name__} {plan.service_type} {plan.credits:f} credits, {plan.request_id}>"


class OpenCharge(Terms):
    """A charge to be entered with `with`."""

    _run: Run[Receipt | None]

    def __enter__(self) -> Self:
        """Hold the credits; raises what the refusal says, and then the block does not run."""
        self._run = self._new_run()
        with self._span.active():
            self._run.start()
        return self

    def grow(self, growth: Growth, retries: Retries) -> None:
        """Set more aside for work that outgrows its hold; raises what a charge raises. Needs a hold."""
        if self._plan.hold is not None:
            self._plan.hold = run(growing(self._plan.hold, growth, retries), self._run.backend)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the credits, or give them back if the block ended in an exception."""
        with self._span.active():
            self._receipt = cast("Receipt | None", self._run.resume(self._failure(error)))
        self._has_ended = True
        self._end_span(error)


class AsyncOpenCharge(Terms):
    """A charge to be entered with `async with`."""

    _run: AsyncRun[Receipt | None]

    async def __aenter__(self) -> Self:
        """Hold the credits; raises what the refusal says, and then the block does not run."""
        self._run = self._new_run()
        with self._span.active():
            await self._run.start()
        return self

    async def grow(self, growth: Growth, retries: Retries) -> None:
        """Set more aside for work that outgrows its hold; raises what a charge raises. Needs a hold."""
        if self._plan.hold is not None:
            extension = AsyncRun(growing(self._plan.hold, growth, retries), self._run.backend)
            try:
                await extension.start()
            finally:
                # Also when the caller was cancelled while the hold was extended.
                self._plan.hold = extension.result or self._plan.hold

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the credits, or give them back if the block ended in an exception."""
        try:
            with self._span.active():
                await self._run.resume(self._failure(error))
            self._has_ended = True
        finally:
            # Also when the caller was cancelled while the capture was under way.
            self._receipt = self._run.result
        self._end_span(error)
