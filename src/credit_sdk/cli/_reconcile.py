"""`credits reconcile`: an application's own record beside what was charged."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from credit_sdk.amounts import format_credits
from credit_sdk.cli._options import AsJson, Url
from credit_sdk.cli._progress import counted
from credit_sdk.cli._records import COLUMNS, DONE, FAILED, Malformed, RecordFile
from credit_sdk.cli._sorting import Sorted
from credit_sdk.errors import (
    ConflictError,
    NotFoundError,
    RefusedError,
    ValidationFailedError,
)
from credit_sdk.operations import Deduct, Refund
from credit_sdk.outbox import Outbox
from credit_sdk.reconciliation import Booked, Finding, Key, Period, Recorded, booked, reconcile

if TYPE_CHECKING:
    from credit_sdk.service import CreditDeductionService

MOST_SHOWN = 100
EARLIER = timedelta(days=1)
"""How much earlier than an operation's record its charge may be."""
_MICROSECOND = timedelta(microseconds=1)
_NOT_CORRECTED = (RefusedError, ConflictError, NotFoundError, ValidationFailedError)

Words = list[str]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("reconcile")(reconcile_record)


def reconcile_record(
    file: Annotated[Path, typer.Argument(help="The record: CSV with a header, or JSON lines.")],
    *,
    org: Annotated[
        str | None, typer.Option("--org", help="The organisation of rows without one.", show_default=False)
    ] = None,
    column: Annotated[
        Words | None,
        typer.Option(help=f"What a column is called: OURS=THEIRS; ours are {', '.join(COLUMNS)}."),
    ] = None,
    done: Annotated[Words | None, typer.Option(help=f"A status of what was done; else {DONE}.")] = None,
    failed: Annotated[Words | None, typer.Option(help=f"A status of what was not; else {FAILED}.")] = None,
    since: Annotated[str | None, typer.Option(help="ISO 8601; else the record's first time.")] = None,
    until: Annotated[str | None, typer.Option(help="ISO 8601, exclusive; else its last time.")] = None,
    outbox: Annotated[Path | None, typer.Option(help="The outbox whose charges are on their way.")] = None,
    service: Annotated[
        list[str] | None,
        typer.Option(
            help="A service that is this application's, several times for more; else those in the record.",
            show_default=False,
        ),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Carry the corrections out.")] = False,
    refund_unknown: Annotated[
        bool,
        typer.Option(
            "--refund-unknown", help="With --apply, also give back charges that the record knows nothing of."
        ),
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Compare the operations that an application recorded with what was charged. Exit code 1 if they differ.

    What is missing, extra or different is listed with the charges and refunds that would correct it.
    """
    from credit_sdk.service import CreditDeductionService  # noqa: PLC0415

    record = RecordFile(file, _columns(column or []), org)
    if done:
        record = replace(record, done=_words(done))
    if failed:
        record = replace(record, failed=_words(failed))
    wanted = Period(_moment(since, "--since"), _moment(until, "--until"))
    with (
        closing(Sorted()) as records,
        closing(Sorted()) as books,
        CreditDeductionService(url, outbox=False) as billing,
    ):
        survey = _survey(record, records)
        period = Period(wanted.since or survey.first, wanted.until or survey.end)
        organizations = sorted({*survey.organizations, *([org] if org else [])})
        charges = counted(_charges(billing, organizations, period), "Reading the charges")
        counts = Counter(recorded=survey.rows, charged=books.fill(charges))
        findings = reconcile(
            records.read(Recorded),
            books.read(Booked),
            waiting=_waiting(outbox),
            period=period,
            services=set(service) if service else survey.services,
        )
        correct = partial(_correct, billing, refund_unknown=refund_unknown)
        outcomes = (_Outcome(each, correct(each) if apply else None) for each in findings)
        show = _show_document if as_json else _show_lines
        is_right = show(outcomes, counts, applied=apply)
    raise typer.Exit(0 if is_right else 1)


@dataclass(slots=True)
class _Survey:
    """What was seen on the way through the record."""

    rows: int = 0
    organizations: set[str] = field(default_factory=set)
    services: set[str] = field(default_factory=set)
    first: datetime | None = None
    end: datetime | None = None

    def note(self, row: Recorded) -> Recorded:
        self.organizations.add(row.org_id)
        self.services.add(row.service_type)
        if row.time is not None:
            self.first = min(self.first or row.time, row.time)
            self.end = max(self.end or row.time, row.time + _MICROSECOND)
        return row


@dataclass(frozen=True, slots=True)
class _Outcome:
    """A finding, and why it could not be corrected: empty when it was, None when nobody tried."""

    finding: Finding
    failure: str | None

    @property
    def is_right(self) -> bool:
        return self.finding.kind == "waiting" or self.failure == ""


def _survey(record: RecordFile, records: Sorted) -> _Survey:
    """Sort the record; raise `ValidationFailedError` naming the malformed rows if there are any."""
    survey, malformed, more = _Survey(), list[Malformed](), 0

    def well_formed() -> Iterator[Recorded]:
        nonlocal more
        for row in counted(record.rows(), f"Reading {record.path.name}"):
            if isinstance(row, Recorded):
                yield survey.note(row)
            elif len(malformed) < MOST_SHOWN:
                malformed.append(row)
            else:
                more += 1

    survey.rows = records.fill(well_formed())
    if malformed:
        for each in malformed:
            print(f"{record.path}, line {each.line}: {each.reason}")
        raise ValidationFailedError(
            f"{len(malformed) + more} rows of {record.path} cannot be read, the first in line "
            f"{malformed[0].line}; nothing was compared."
        )
    return survey


def _charges(
    billing: "CreditDeductionService", organizations: Iterable[str], period: Period
) -> Iterator[Booked]:
    # Not until the period's end: what was late, or corrected since, is charged by now.
    since = period.since - EARLIER if period.since else None
    return chain.from_iterable(booked(billing.charges(org_id, since=since)) for org_id in organizations)


def _waiting(outbox: Path | None) -> set[Key]:
    if outbox is None:
        return set()
    charges = [entry.charge for entry in Outbox(outbox).entries()]
    return {
        (charge.org_id, charge.request_id)
        for charge in charges
        if charge is not None and charge.org_id is not None and charge.outcome != "failed"
    }


def _correct(billing: "CreditDeductionService", finding: Finding, *, refund_unknown: bool) -> str:
    """Carry the corrections out and return why that failed, or nothing."""
    if finding.is_unrecorded and not refund_unknown:
        return "the record does not know it; --refund-unknown gives it back"
    if not finding.corrections and finding.kind != "waiting":
        return "only a person can correct it"
    try:
        for correction in finding.corrections:
            billing.execute(correction)
    except _NOT_CORRECTED as error:
        return error.detail
    return ""


def _show_lines(outcomes: Iterable[_Outcome], counts: Counter[str], *, applied: bool) -> bool:
    is_right = True
    for outcome in outcomes:
        finding = outcome.finding
        counts[finding.kind] += 1
        counts["corrections"] += len(finding.corrections)
        is_right = is_right and outcome.is_right
        print(f"{finding.kind:<9}  {finding.org_id}  {finding.request_id}  {_sentence(finding)}")
        for correction in finding.corrections:
            print(f"           {'' if applied else 'would '}{_proposal(correction)}")
        if outcome.failure:
            print(f"           not corrected: {outcome.failure}")
    print(
        f"{counts['recorded']} recorded, {counts['charged']} charged: {counts['missing']} missing, "
        f"{counts['extra']} extra, {counts['different']} different, {counts['duplicate']} duplicate, "
        f"{counts['waiting']} waiting."
    )
    if counts["corrections"] and not applied:
        print(f"Nothing was changed; --apply carries {counts['corrections']} corrections out.")
    return is_right


def _show_document(outcomes: Iterable[_Outcome], counts: Counter[str], *, applied: bool) -> bool:
    """Print one JSON document, a line for each finding, so that none is kept."""
    is_right, separator = True, ""
    print('{"findings": [', end="")
    for outcome in outcomes:
        counts[outcome.finding.kind] += 1
        is_right = is_right and outcome.is_right
        print(f"{separator}\n{json.dumps(_document(outcome))}", end="")
        separator = ","
    kinds = ("recorded", "charged", "missing", "extra", "different", "duplicate", "waiting")
    figures = {kind: counts[kind] for kind in kinds}
    print(f'],\n"counts": {json.dumps(figures)}, "applied": {json.dumps(applied)}}}')
    return is_right


def _document(outcome: _Outcome) -> dict[str, Any]:
    finding = outcome.finding
    return {
        "kind": finding.kind,
        "org_id": finding.org_id,
        "request_id": finding.request_id,
        "fields": finding.fields,
        "recorded": [each.model_dump(mode="json") for each in finding.recorded],
        "charged": [each.model_dump(mode="json") for each in finding.booked],
        "corrections": [
            {"operation": type(each).__name__} | each.model_dump(mode="json", exclude_none=True)
            for each in finding.corrections
        ],
        "failure": outcome.failure or None,
    }


def _sentence(finding: Finding) -> str:
    if finding.kind == "duplicate":
        return f"lines {', '.join(str(each.line) for each in finding.recorded)} are all done"
    said = [
        f"line {each.line}: {_what(each)}{'' if each.is_done else ', not done'}" for each in finding.recorded
    ]
    charged = [f"charged: {_what(each)} at {each.created_at:%Y-%m-%d %H:%M:%S%z}" for each in finding.booked]
    return "; ".join([*said, *charged])


def _what(item: Recorded | Booked) -> str:
    credits = format_credits(item.credits)
    back = f", {format_credits(item.refunded)} refunded" if isinstance(item, Booked) and item.refunded else ""
    return f"{credits} credits of {item.user_id} for {item.service_type}{back}"


def _proposal(correction: Deduct | Refund) -> str:
    if isinstance(correction, Deduct):
        return (
            f"charge {format_credits(correction.credits)} credits of {correction.user_id} "
            f"under {correction.request_id}"
        )
    credits = "all" if correction.credits is None else format_credits(correction.credits)
    return f"refund {credits} credits of the charge {correction.charge_id}"


def _columns(pairs: Words) -> dict[str, str]:
    columns = {}
    for pair in pairs:
        ours, is_pair, theirs = pair.partition("=")
        if not is_pair or ours not in COLUMNS or not theirs:
            raise typer.BadParameter(
                f"{pair!r} is not OURS=THEIRS, with one of {', '.join(COLUMNS)}.", param_hint="--column"
            )
        columns[ours] = theirs
    return columns


def _words(words: Words) -> frozenset[str]:
    return frozenset(word.strip().lower() for word in words)


def _moment(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise typer.BadParameter(
            f"{text!r} is no date and time in ISO 8601 with a zone, such as 2027-01-31T00:00:00Z.",
            param_hint=option,
        )
    return moment
