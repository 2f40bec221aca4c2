"""Whether the server lives, and whether it can do its work."""

from decimal import Decimal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from credit_sdk.errors import CreditError, NotAMemberError, UnavailableError
from credit_sdk.operations import Deduct
from reference_server.access import Ledger
from reference_server.encoding import problem_response

_REFUSED_CHARGE = Deduct(
    org_id="readyz", user_id="readyz", credits=Decimal(1), service_type="readyz", request_id="readyz"
)


async def healthz(_: Request) -> Response:
    """Answer as long as the process does."""
    return JSONResponse({"status": "ok"})


class Readiness:
    """Answers 200 when the ledger does, 503 otherwise."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    async def readyz(self, request: Request) -> Response:
        """Ask the ledger for a charge to nobody: whatever would stand in a charge's way stands in its way."""
        try:
            await self.ledger.execute(_REFUSED_CHARGE)
        except NotAMemberError:
            return JSONResponse({"status": "ready"})
        except CreditError:
            pass
        return problem_response(UnavailableError(), request.state.request_id)
