"""These tests start real processes; none may outlive its test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import docker
from tests.support.leaks import nothing_left


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path: Path) -> Iterator[None]:
    # First to be set up, so last to look: after every other fixture has cleaned up.
    with nothing_left(tmp_path):
        yield


@pytest.fixture
def ours() -> Iterator[docker.Ours]:
    """The container engine's driver on the real engine; what the test made must be gone at its end."""
    with docker.ours() as here:
        yield here
