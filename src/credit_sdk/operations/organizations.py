"""Look at organisations and their members."""

from typing import Annotated

from pydantic import Field, StrictBool

from credit_sdk import models
from credit_sdk.operations._base import LARGEST_PAGE, Cursor, Operation, OrgId, UserId, Whole


class ListOrganizations(Operation[models.OrganizationPage]):
    """List a user's organisations, or without a user all there are."""

    user_id: UserId | None = None
    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE), Whole] = 100
    cursor: Cursor | None = None


class ListMembers(Operation[models.MemberPage]):
    """List an organisation's members by user id."""

    org_id: OrgId
    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE), Whole] = 100
    cursor: Cursor | None = None


class AddMember(Operation[models.Member]):
    """Make a user a member, or give a member another role. Repeating it changes nothing."""

    org_id: OrgId
    user_id: UserId
    role: models.Role = "member"
    is_default: StrictBool = False
