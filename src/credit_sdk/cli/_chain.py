"""`credits receipt`, and the chains of `credits verify`: proofs that history was not rewritten."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from credit_sdk.cli._options import Url
from credit_sdk.cli._progress import counted, read_lines
from credit_sdk.errors import BrokenProofError, ConfigurationError

if TYPE_CHECKING:
    from credit_sdk.models import ChainVerification, ListedLink
    from credit_sdk.service import CreditDeductionService

Head = Annotated[
    str | None,
    typer.Option(
        "--head", help="A head of the chain that was noted down before: 64 hexadecimal digits.",
        show_default=False,
    ),
]  # fmt: skip
OfOrganization = Annotated[str | None, typer.Option("--org", help="The organisation.", show_default=False)]
Check = Annotated[
    Path | None, typer.Option("--check", help="Check a file instead, without network.", show_default=False)
]
_AT_ONCE = 500
_DIGITS = frozenset("0123456789abcdef")
_LENGTH = 64


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(receipt)


def receipt(
    request_id: Annotated[str | None, typer.Argument(help="The charge or refund.")] = None,
    org: OfOrganization = None,
    check: Check = None,
    head: Head = None,
    url: Url = None,
) -> None:
    """Print the receipt of a charge as JSON, or check one: a change is named by its sequence number."""
    from credit_sdk import proof  # noqa: PLC0415

    if check is not None:
        if request_id is not None:
            raise typer.BadParameter("a receipt is fetched or checked, not both.", param_hint="--check")
        digest = _head(head)
        with _usable(check):
            found = proof.check_receipt(check.read_text(encoding="utf-8"), head=digest)
        print(
            f"The receipt fits: sequence number {found.sequence} of {found.org_id}, "
            f"{_promise(head, found.head.sequence, found.head.digest)}"
        )
        return
    if request_id is None or org is None:
        raise typer.BadParameter(
            "name a charge and its --org, or a file to --check.", param_hint="REQUEST_ID"
        )
    from credit_sdk.operations import GetProof, parse  # noqa: PLC0415

    with _service(url) as billing:
        found = billing.execute(parse(GetProof, {"org_id": org, "request_id": request_id}))
    text = proof.receipt(found)
    # Whoever hands it out should be the first to notice.
    proof.check_receipt(text)
    print(text)


def export_chain(billing: "CreditDeductionService", org_id: str, path: Path, *, after: int) -> None:
    """Write an organisation's links behind a sequence number to a file, and check what was written."""
    with _usable(path), path.open("w", encoding="utf-8") as file:
        for line in counted(_exported(billing, org_id, after), f"Exporting the chain of {org_id}"):
            file.write(line + "\n")
    check_chain(path)


def check_chain(path: Path, *, head: str | None = None, as_json: bool = False) -> None:
    """Check an exported chain as a whole, without network."""
    from credit_sdk import proof  # noqa: PLC0415

    digest = _head(head)
    with _usable(path), path.open(encoding="utf-8") as lines:
        size = path.stat().st_size
        found = proof.check_chain(read_lines(lines, size, f"Checking {path.name}"), head=digest)
    if as_json:
        last = found.head.model_dump(mode="json")
        document = {"org_id": found.org_id, "links": found.links, "head": last, "vouched": found.vouched}
        print(json.dumps(document))
        return
    print(
        f"The chain fits: {found.links} links of {found.org_id}, "
        f"{_promise(head, found.head.sequence, found.head.digest)}"
    )
    if found.vouched is not None and found.vouched < found.head.sequence:
        print(f"It vouches for rows up to {found.vouched}, not for those from {found.vouched + 1} on.")


def show_chain(found: "ChainVerification") -> None:
    """Print what verifying the chains came to."""
    for each in found.breaks:
        place = "an unsealed row" if each.sequence is None else f"sequence number {each.sequence}"
        row = f" ({each.kind} {each.entry_id})" if each.entry_id else ""
        print(f"{each.org_id}: the chain is broken at {place}{row}: {each.reason}")
    verdict = "the chains fit." if not found.breaks else "the chains DO NOT fit."
    detached = f", {found.detached} of them in a detached archive" if found.detached else ""
    print(f"{found.entries} rows sealed{detached}, {found.waiting} waiting: {verdict}")


def _exported(billing: "CreditDeductionService", org_id: str, after: int) -> Iterator[str]:
    from credit_sdk import proof  # noqa: PLC0415
    from credit_sdk.operations import ListChain, parse  # noqa: PLC0415

    fields = {"org_id": org_id, "limit": _AT_ONCE}
    page = billing.execute(parse(ListChain, fields | {"after": after}))

    def links() -> "Iterator[ListedLink]":
        items = page.items
        while items:
            yield from items
            items = billing.execute(parse(ListChain, fields | {"after": items[-1].sequence})).items

    return proof.segment(org_id, after, page.previous, links())


def _promise(head: str | None, sequence: int, digest: str) -> str:
    if head is not None:
        return "and the chain had the head that you gave."
    return (
        f"in a chain with the head {digest} at {sequence}.\n"
        "Whether that is the true chain, a head says that was noted down before: give it as --head."
    )


def _head(text: str | None) -> str | None:
    if text is None:
        return None
    digest = text.strip().lower()
    if len(digest) != _LENGTH or not _DIGITS.issuperset(digest):
        raise typer.BadParameter("a head is 64 hexadecimal digits.", param_hint="--head")
    return digest


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be used: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise BrokenProofError(f"{path} is no text.") from None


def _service(url: str | None) -> "CreditDeductionService":
    from credit_sdk.service import CreditDeductionService  # noqa: PLC0415

    return CreditDeductionService(url, outbox=False)
