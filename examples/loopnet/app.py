"""A web application with a billable endpoint.

    uvicorn examples.loopnet.app:app
    curl -X POST -H "Cookie: session_token=..." localhost:8000/loopnet/company/c-1/enrich

The session that the user logged in with says who pays. A refusal becomes the answer that explains it.
"""

import asyncio
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from credit_sdk import Account, CreditError
from credit_sdk.errors import problem_from_error
from credit_sdk.wire import SESSION_COOKIE
from examples.loopnet import catalogue
from examples.loopnet.billing import billing


@billing.billable("company_enrichment", metadata=lambda company_id: {"company_id": company_id})
async def enrich(company_id: str, account: Account) -> dict[str, Any]:
    """Return the company's record."""
    return await asyncio.to_thread(catalogue.enrich, company_id)


async def enrich_company(request: Request) -> JSONResponse:
    """POST /loopnet/company/{company_id}/enrich: 50 credits."""
    token = request.cookies.get(SESSION_COOKIE, "")
    account = await asyncio.to_thread(billing.account, session_token=token)
    company = await enrich(request.path_params["company_id"], account)
    return JSONResponse({"success": True, "data": company})


async def refused(_: Request, error: Exception) -> JSONResponse:
    """Answer what the billing system said: 401, 402, 403, 503."""
    assert isinstance(error, CreditError)  # noqa: S101 - registered for nothing else
    problem = problem_from_error(error)
    return JSONResponse(
        {name: str(value) for name, value in problem.items()},
        status_code=error.status,
        media_type="application/problem+json",
    )


async def failed(_: Request, error: Exception) -> JSONResponse:
    """Answer that the operation failed; it cost nothing."""
    return JSONResponse({"detail": f"Not delivered, not charged: {error}"}, status_code=502)


app = Starlette(
    routes=[Route("/loopnet/company/{company_id}/enrich", enrich_company, methods=["POST"])],
    exception_handlers={CreditError: refused, catalogue.UpstreamError: failed},
)
