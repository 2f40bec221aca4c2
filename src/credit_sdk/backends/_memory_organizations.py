"""Organisations and who is in them."""

from typing import Any

from credit_sdk import models
from credit_sdk.backends._memory_books import (
    Allocation,
    Books,
    Member,
    Organization,
    decode_cursor,
    encode_cursor,
)
from credit_sdk.errors import ConfigurationError, ConflictError
from credit_sdk.operations import AddMember, ListAudit, ListMembers, ListOrganizations


class Organizations(Books):
    """The rules of organisations and their members."""

    def list_organizations(self, operation: ListOrganizations) -> models.OrganizationPage:
        """List organisations by id: a user's, without those that are deleted, or all there are."""
        after = decode_cursor(operation.cursor) if operation.cursor else ""
        rows = [each for each in self._organizations_of(operation.user_id) if each.id > after]
        page, more = rows[: operation.limit], rows[operation.limit :]
        document = {
            "items": [
                organization_document(each, self.members.get((each.id, operation.user_id or "")))
                for each in page
            ],
            "next_cursor": encode_cursor(page[-1].id) if more else None,
        }
        return models.OrganizationPage.model_validate(document, context=self.SCALE)

    def list_members(self, operation: ListMembers) -> models.MemberPage:
        """List members by user id."""
        self.organization(operation.org_id)
        after = decode_cursor(operation.cursor) if operation.cursor else ""
        rows = sorted(self.members_of(operation.org_id), key=lambda each: each.user_id)
        rows = [each for each in rows if each.user_id > after][: operation.limit + 1]
        page, more = rows[: operation.limit], rows[operation.limit :]
        document = {
            "items": [self._member(each) for each in page],
            "next_cursor": encode_cursor(page[-1].user_id) if more else None,
        }
        return models.MemberPage.model_validate(document, context=self.SCALE)

    def admit(self, operation: AddMember) -> models.Member:
        """Make a user a member, or give a member another role."""
        self.require_open(operation.org_id)
        key = operation.org_id, operation.user_id
        if key not in self.members:
            self._require_seat(self.organizations[operation.org_id])
            self.members[key] = Member(*key, operation.role, is_default=False, joined_at=self.moment)
        self._require_owner(self.members[key], operation)
        self.members[key].role = operation.role
        if operation.is_default:
            self._make_default(self.members[key])
        return models.Member.model_validate(self._member(self.members[key]), context=self.SCALE)

    def list_audit(self, _: ListAudit) -> models.AuditPage:
        """Refuse: what the database writes down by itself, nobody writes down here."""
        raise ConfigurationError("A ledger in memory keeps no audit: it knows no callers. Use a database.")

    def members_of(self, org_id: str) -> list[Member]:
        """Return an organisation's members."""
        return [each for each in self.members.values() if each.org_id == org_id]

    def _organizations_of(self, user_id: str | None) -> list[Organization]:
        rows = sorted(self.organizations.values(), key=lambda each: each.id)
        if user_id is None:
            return rows
        return [each for each in rows if (each.id, user_id) in self.members and each.status != "deleted"]

    def _require_seat(self, organization: Organization) -> None:
        seats = organization.max_seats
        if seats is not None and len(self.members_of(organization.id)) >= seats:
            raise ConflictError(f"All {seats} seats of organisation {organization.id} are taken.")

    def _require_owner(self, member: Member, operation: AddMember) -> None:
        owners = [each for each in self.members_of(member.org_id) if each.role == "owner"]
        if owners == [member] and operation.role != "owner":
            raise ConflictError(
                f"User {member.user_id} is the last owner of organisation {member.org_id}: "
                "make somebody else an owner first."
            )

    def _make_default(self, member: Member) -> None:
        """Make this the organisation that pays for its member by default, and no other."""
        for each in self.members.values():
            if each.user_id == member.user_id:
                each.is_default = each is member

    def _member(self, member: Member) -> dict[str, Any]:
        key = member.org_id, member.user_id
        allocation = self.allocations.get(key) or Allocation(*key, self.moment, self.moment)
        return {
            "org_id": member.org_id,
            "user_id": member.user_id,
            "user_email": self.emails.get(member.user_id),
            "role": member.role,
            "is_default": member.is_default,
            "joined_at": member.joined_at,
            "allocated_credits": allocation.allocated,
            "used_credits": allocation.used,
            "remaining_credits": allocation.remaining,
        }


def organization_document(row: Organization, member: Member | None = None) -> dict[str, Any]:
    """Return an organisation as a member of it sees it, or as others do."""
    return {
        "org_id": row.id,
        "name": row.name,
        "display_name": row.display_name,
        "slug": row.slug,
        "plan_tier": row.plan_tier,
        "max_seats": row.max_seats,
        "status": row.status,
        "role": member.role if member else None,
        "is_default": member.is_default if member else False,
        "created_at": row.created_at,
    }
