"""Charges that come together share a transaction, and so a flush of the log. Counted, not timed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.gathered import CONNECTIONS, load, spread_of_transactions
from benchmarks.verifying import charges as charges_of
from benchmarks.verifying import verified

if TYPE_CHECKING:
    from benchmarks.setting import Setting

CHARGES_OF_EACH = 5


@pytest.mark.parametrize("connections", CONNECTIONS)
def test_charges_of_many_connections_share_transactions(setting: Setting, connections: int) -> None:
    load(setting, connections, 2 * connections)
    before, charges = charges_of(setting), connections * CHARGES_OF_EACH
    figure = spread_of_transactions(setting, connections, charges, 1, 1 / CONNECTIONS[connections])
    assert figure.verdict == "met", figure
    # The first round is not kept.
    assert charges_of(setting) - before == 2 * charges
    assert verified(setting)["verified"]
