from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.setting import Setting, served

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    """A served ledger of its own, on which nobody else flushes or writes."""
    with served() as setting:
        yield setting
