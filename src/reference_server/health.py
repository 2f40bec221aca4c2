"""Whether the server lives, and whether it can do its work."""

from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from credit_sdk.errors import CreditError, NotFoundError, UnavailableError
from credit_sdk.operations import GetHold
from reference_server.access import Ledger
from reference_server.encoding import problem_response

_NO_HOLD = GetHold(hold_id=UUID(int=0))


async def healthz(_: Request) -> Response:
    """Answer as long as the process does."""
    return JSONResponse({"status": "ok"})


class Readiness:
    """Answers 200 when the ledger does, 503 otherwise."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    async def readyz(self, request: Request) -> Response:
        """Ask the ledger for a hold that cannot exist."""
        try:
            await self.ledger.execute(_NO_HOLD)
        except NotFoundError:
            return JSONResponse({"status": "ready"})
        except CreditError:
            pass
        return problem_response(UnavailableError(), request.state.request_id)
