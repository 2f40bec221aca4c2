"""Bugs of the gateway and of metered clients, to be planted on purpose."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from credit_sdk import _metered_calls
from credit_sdk._metered_calls import Call, StreamedCall
from credit_sdk._stream_meter import StreamMeter
from credit_sdk.model_prices import TokenUsage, reported_usage
from credit_sdk.token_counting import tokens_of
from reference_server.llm import events, gateway, payers, streaming
from reference_server.llm.keys import ProviderKeys
from reference_server.llm.meter import Bill, Meter
from reference_server.llm.prices import AT_COST, PLATFORM_MARKUP
from reference_server.llm.requests import Asked
from reference_server.llm.streaming import MeteredStream, bill_headers

if TYPE_CHECKING:
    import pytest

    from reference_server.llm.prices import Model


def a_reported_usage_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (gateway, events):
        monkeypatch.setattr(module, "reported_usage", lambda _: None)


def cached_tokens_are_at_full_price(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_cache(block: Any) -> TokenUsage | None:
        usage = reported_usage(block)
        return usage and replace(usage, cached=0)

    for module in (gateway, events):
        monkeypatch.setattr(module, "reported_usage", without_cache)


def zero_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    def believed(block: Any) -> TokenUsage | None:
        usage = reported_usage(block)
        return usage if usage and usage.tokens else None

    for module in (gateway, events, _metered_calls):
        monkeypatch.setattr(module, "reported_usage", believed)


def the_prompt_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    def used(meter: StreamMeter) -> TokenUsage:
        return meter.usage or TokenUsage(0, tokens_of(meter.size))

    monkeypatch.setattr(StreamMeter, "used", used)


def one_choice_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    def estimated(asked: Asked, model: Model) -> TokenUsage:
        return estimate(replace(asked, body=asked.body | {"n": 1}), model)

    estimate = Asked.estimate
    monkeypatch.setattr(Asked, "estimate", estimated)


def one_choice_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def used(asked: Asked, answer: dict[str, Any]) -> TokenUsage:
        return count(asked, answer | {"choices": answer["choices"][:1]})

    def looked_into(raw: bytes, **options: Any) -> events.Event:
        event = look_into(raw, **options)
        return replace(event, size=0) if b'"index": 1' in raw else event

    count, look_into = gateway._used, events.look_into
    monkeypatch.setattr(gateway, "_used", used)
    monkeypatch.setattr(streaming, "look_into", looked_into)


def the_stream_is_over_at_its_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    def looked_into(raw: bytes, **options: Any) -> events.Event:
        event = look_into(raw, **options)
        return replace(event, is_last=event.is_last or event.finishes)

    look_into = events.look_into
    monkeypatch.setattr(streaming, "look_into", looked_into)


def the_hold_is_not_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forget(_: Meter) -> Bill:
        return Bill(Decimal(0), None)

    monkeypatch.setattr(Meter, "release", forget)


def the_hold_is_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    async def generous(meter: Meter, usage: TokenUsage) -> Bill:
        # The prices at which the usage costs what is held.
        completion = int(meter.held / meter.tariff.credits(TokenUsage(completion=1)))
        return await charge(meter, replace(usage, prompt=0, cached=0, completion=completion))

    charge = Meter.charge
    monkeypatch.setattr(Meter, "charge", generous)


def the_hold_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StreamMeter, "growth", lambda *_: None)


def the_provider_is_called_before_anything_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    async def later(meter: Meter, estimate: Decimal, request_id: str | None) -> None:
        if tries:
            await open_hold(meter, estimate, request_id)
        tries.append(meter)

    tries: list[Meter] = []
    open_hold = Meter.open
    monkeypatch.setattr(Meter, "open", later)


def the_own_key_is_with_a_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payers, "AT_COST", PLATFORM_MARKUP)


def the_platforms_key_is_at_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payers, "PLATFORM_MARKUP", AT_COST)


def the_own_key_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def find(*_: Any) -> None:
        return None

    monkeypatch.setattr(ProviderKeys, "find", find)


def the_headers_say_another_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    def doubled(bill: Bill | None) -> dict[str, str]:
        return bill_headers(bill and replace(bill, cost=2 * bill.cost))

    for module in (gateway, streaming):
        monkeypatch.setattr(module, "bill_headers", doubled)


def the_headers_do_not_say_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(bill: Bill | None) -> dict[str, str]:
        return bill_headers(bill and replace(bill, remaining=None))

    for module in (gateway, streaming):
        monkeypatch.setattr(module, "bill_headers", silent)


def nothing_is_attributed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "Meter", lambda *given: Meter(*given[:4], metadata={}))


def who_leaves_pays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forgiving(stream: MeteredStream, failure: Any) -> Bill | None:
        return await (settle(stream, failure) if stream._finished else stream.meter.release())

    settle = MeteredStream._settle
    monkeypatch.setattr(MeteredStream, "_settle", forgiving)


def a_broken_stream_is_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    async def greedy(stream: MeteredStream, _: Any) -> Bill | None:
        return await settle(stream, None)

    settle = MeteredStream._settle
    monkeypatch.setattr(MeteredStream, "_settle", greedy)


def a_metered_call_costs_its_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Call, "settle", lambda _, __, answer: answer)


def a_metered_stream_is_free_for_who_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    def owes(call: StreamedCall, ending: Any, charge: Any) -> bool:
        return ending != "left" and really_owes(call, ending, charge)

    really_owes = StreamedCall.owes
    monkeypatch.setattr(StreamedCall, "owes", owes)


def a_metered_stream_that_fails_is_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StreamedCall, "owes", lambda *_: True)


def a_metered_call_has_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    def note(call: Call, charge: Any, usage: TokenUsage) -> Decimal:
        return really_note(replace(call, meter=replace(call.meter, markup=Decimal(1))), charge, usage)

    really_note = Call.note
    monkeypatch.setattr(Call, "note", note)
