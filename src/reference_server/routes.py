"""The table of addresses: which operation, who may, how it is limited, how large its body may be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import NoneType
from typing import Annotated, Any, get_args, get_origin
from urllib.parse import unquote

from credit_sdk import operations
from credit_sdk.operations import Operation
from credit_sdk.wire import ADDRESSES, Address
from reference_server import access, administration, personal
from reference_server.access import Rule
from reference_server.callers import Caller, Session

LARGEST_BODY = 64 * 1024
LARGEST_BATCH_BODY = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms an operation is offered. `charging` operations do not limit keys by default."""

    rule: Rule
    charging: bool = False
    largest_body: int = LARGEST_BODY
    in_query: bool = False
    """Whether the fields of a body may stand in the query instead, as the documents do for `add`."""
    reserved: frozenset[str] = frozenset()
    """Fields that the server fills in, so that no request may; those of a batch are its charges'."""
    noted: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """Members of a body that are kept in the metadata, with their JSON Schemas."""


_GIVING_BACK = (operations.Refund, operations.RefundSpending)
_FROM_CALLER = frozenset({"api_key_id", "by_payer"})
_JOB_ID = {"job_id": {"anyOf": [{"type": "string", "maxLength": 255}, {"type": "integer"}, {"type": "null"}]}}

TERMS: Mapping[type[Operation[Any]], Terms] = {
    operations.CheckCredits: Terms(access.spends, charging=True),
    operations.CheckCharges: Terms(access.spends, charging=True, largest_body=LARGEST_BATCH_BODY),
    operations.Deduct: Terms(access.spends, charging=True, reserved=_FROM_CALLER),
    operations.DeductBatch: Terms(
        access.spends_many, charging=True, largest_body=LARGEST_BATCH_BODY, reserved=_FROM_CALLER
    ),
    operations.PlaceHold: Terms(access.holds, charging=True, reserved=_FROM_CALLER),
    operations.GetHold: Terms(access.sees_hold, charging=True),
    operations.ExtendHold: Terms(access.uses_hold, charging=True),
    operations.ChargeHold: Terms(access.uses_hold, charging=True, largest_body=LARGEST_BATCH_BODY),
    operations.CaptureHold: Terms(access.uses_hold, charging=True),
    operations.VoidHold: Terms(access.uses_hold, charging=True),
    operations.Refund: Terms(access.refunds, charging=True),
    operations.GetUserCredits: Terms(access.reads_user),
    operations.GetPool: Terms(access.reads_organization),
    operations.AddCredits: Terms(access.manages_organization, in_query=True),
    operations.Allocate: Terms(access.allocates),
    operations.ListAllocations: Terms(access.reads_organization),
    operations.ListCaps: Terms(access.reads_organization),
    operations.SetCap: Terms(access.sets_in_own_name),
    operations.GetTopUp: Terms(access.manages_organization),
    operations.SetTopUp: Terms(access.manages_organization),
    operations.RemoveTopUp: Terms(access.manages_organization),
    operations.GetUsage: Terms(access.reads_organization),
    operations.GetForecast: Terms(access.reads_organization),
    operations.GetBurnDown: Terms(access.reads_organization),
    operations.ListCharges: Terms(access.reads_organization),
    operations.GetProof: Terms(access.reads_organization),
    operations.GetUserBilling: Terms(access.reads_billing, reserved=frozenset({"session_digest"})),
    operations.GetOrganizationBilling: Terms(access.manages_organization),
    operations.GetSystemBilling: Terms(administration.administers_system),
    operations.ListBillingHistory: Terms(access.manages_organization),
    operations.CreateSubscription: Terms(access.manages_organization),
    operations.ListSubscriptions: Terms(access.reads_organization),
    operations.GetSubscription: Terms(administration.reads_subscription),
    operations.UpdateSubscription: Terms(administration.manages_subscription),
    operations.UpgradeSubscription: Terms(administration.manages_subscription, in_query=True),
    operations.CancelSubscription: Terms(administration.manages_subscription),
    operations.ListOrganizations: Terms(administration.lists_organizations),
    operations.ListMembers: Terms(access.reads_organization),
    operations.AddMember: Terms(administration.admits),
    operations.ListAudit: Terms(administration.audits),
    operations.ListAlerts: Terms(access.reads_organization),
    operations.SetAlert: Terms(access.sets_in_own_name),
    operations.ListWebhooks: Terms(access.manages_organization),
    operations.CreateWebhook: Terms(access.manages_organization),
    operations.ListWebhookDeliveries: Terms(access.manages_organization),
    operations.RedeliverWebhook: Terms(access.manages_organization),
    operations.DeleteWebhook: Terms(access.manages_organization),
    operations.TestWebhook: Terms(access.manages_organization),
    operations.GetBalance: Terms(personal.reads_own),
    operations.GetStatement: Terms(personal.reads_person),
    operations.ListTransactions: Terms(personal.reads_person),
    operations.GrantCredits: Terms(personal.grants),
    operations.Spend: Terms(personal.spends_own, charging=True, noted=_JOB_ID),
    operations.CheckBalance: Terms(personal.spends_own, charging=True),
    operations.PlaceBalanceHold: Terms(personal.holds_own, charging=True, reserved=_FROM_CALLER),
    operations.GetBalanceHold: Terms(personal.sees_own_hold, charging=True),
    operations.ExtendBalanceHold: Terms(personal.uses_own_hold, charging=True),
    operations.CaptureBalanceHold: Terms(personal.uses_own_hold, charging=True),
    operations.VoidBalanceHold: Terms(personal.uses_own_hold, charging=True),
    operations.RefundSpending: Terms(personal.refunds_person, charging=True),
}


@dataclass(frozen=True)
class Route:
    """One method of one path."""

    address: Address
    terms: Terms

    @cached_property
    def needs_body(self) -> bool:
        """Whether some field must come with the body."""
        fields = self.address.operation.model_fields.items()
        return any(field.is_required() and name not in self.address.path_fields for name, field in fields)

    def is_audited(self, caller: Caller) -> bool:
        """Whether the audit names the caller: of changes that are no charges, and of refunds by persons."""
        if self.address.operation in _GIVING_BACK:
            return isinstance(caller, Session)
        return self.address.method != "GET" and not self.terms.charging

    @property
    def takes_query(self) -> bool:
        """Whether fields may stand in the query."""
        return self.terms.in_query or not self.address.has_body

    @cached_property
    def integers(self) -> frozenset[str]:
        """The fields that are whole numbers."""
        return self._fields_of(int)

    @cached_property
    def booleans(self) -> frozenset[str]:
        """The fields that are true or false."""
        return self._fields_of(bool)

    def _fields_of(self, kind: type) -> frozenset[str]:
        fields = self.address.operation.model_fields.items()
        return frozenset(name for name, field in fields if _holds(field.annotation, kind))


def _holds(annotation: object, kind: type) -> bool:
    """Whether a field is of a type, or may also be left out."""
    plain = [get_args(each)[0] if get_origin(each) is Annotated else each for each in get_args(annotation)]
    return annotation is kind or (kind in plain and set(plain) == {kind, NoneType})


@dataclass(frozen=True)
class Resource:
    """One path and what answers there, by method."""

    path: str
    routes: Mapping[str, Route]

    @cached_property
    def segments(self) -> tuple[str, ...]:
        """The path's segments; those in braces stand for fields."""
        return tuple(self.path.split("/"))

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that the path knows."""
        return tuple(sorted({*self.routes, "OPTIONS"} | ({"HEAD"} if "GET" in self.routes else set())))

    def route(self, method: str) -> Route | None:
        """Return what answers the method; HEAD is GET without the body."""
        return self.routes.get("GET" if method == "HEAD" else method)

    def fits(self, segments: Sequence[str]) -> bool:
        """Whether a request's path is this one."""
        return len(segments) == len(self.segments) and all(
            bool(segment) if template.startswith("{") else segment == template
            for template, segment in zip(self.segments, segments, strict=True)
        )

    def fields(self, segments: Sequence[str]) -> dict[str, str]:
        """Return the operation's fields in a request's path."""
        return {
            template[1:-1]: unquote(segment)
            for template, segment in zip(self.segments, segments, strict=True)
            if template.startswith("{")
        }


ROUTES: tuple[Route, ...] = tuple(
    Route(address, TERMS[address.operation]) for address in ADDRESSES if address.operation in TERMS
)
"""What is served. An address for which no terms are set is not: nobody could say who may use it."""

RESOURCES: tuple[Resource, ...] = tuple(
    Resource(path, {route.address.method: route for route in ROUTES if route.address.path == path})
    for path in dict.fromkeys(route.address.path for route in ROUTES)
)


_FIXED = {resource.path: resource for resource in RESOURCES if "{" not in resource.path}
_WITH_FIELDS = tuple(resource for resource in RESOURCES if "{" in resource.path)


def find(raw_path: bytes) -> tuple[Resource, dict[str, str]] | None:
    """Return what lives at a path that is still percent-encoded, and the fields in it.

    A path without fields goes before one with: `credits/deduct` is never an organisation's pool.
    """
    path = raw_path.decode("latin-1")
    if resource := _FIXED.get(path):
        return resource, {}
    segments = path.split("/")
    found = next((resource for resource in _WITH_FIELDS if resource.fits(segments)), None)
    return (found, found.fields(segments)) if found else None
