"""Chain the append-only rows together, and prove that they were not changed since."""

from typing import Annotated

from pydantic import Field

from credit_sdk import models
from credit_sdk.operations._base import LARGEST_PAGE, Operation, OrgId, RequestId, Whole


class Seal(Operation[models.Sealing]):
    """Add the new rows of all organisations to their chains; or every row of one that is in none.

    Safe to run late, twice and from many processes at once. Only on the database itself.
    """

    org_id: OrgId | None = None
    limit: Annotated[int, Field(ge=1, le=100_000), Whole] = 1_000


class VerifyChain(Operation[models.ChainVerification]):
    """Compute every link anew, of one organisation or of all. Only on the database itself."""

    org_id: OrgId | None = None


class ListChain(Operation[models.ChainPage]):
    """Read an organisation's chain, from after a link on. Only on the database itself."""

    org_id: OrgId
    after: Annotated[int, Field(ge=0, lt=2**63), Whole] = 0
    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE), Whole] = 100


class GetProof(Operation[models.Proof]):
    """Get what somebody needs to check a charge or refund without us; a conflict until it is sealed."""

    org_id: OrgId
    request_id: RequestId
