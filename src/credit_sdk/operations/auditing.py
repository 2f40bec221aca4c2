"""Look at what administrators did."""

from typing import Annotated

from pydantic import Field

from credit_sdk import models
from credit_sdk.operations._base import LARGEST_PAGE, Cursor, Operation, OrgId, Whole


class ListAudit(Operation[models.AuditPage]):
    """List what administrators changed in an organisation, newest first."""

    org_id: OrgId
    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE), Whole] = 100
    cursor: Cursor | None = None
