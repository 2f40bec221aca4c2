"""One rig for all faults of a worker: its processes are broken and mended, not made anew."""

from collections.abc import Iterator

import pytest

from tests.faults.rig import Rig


@pytest.fixture(scope="session")
def rig() -> Iterator[Rig]:
    with Rig() as rig:
        yield rig
