"""These tests break real things; nothing may outlive its test, and nobody else may notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.chaos.trial import WORLD, Trial, trial
from tests.support.host import host
from tests.support.leaks import nothing_left
from tests.support.survive import keeper_pid, processes_of, tmux_server


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path: Path) -> Iterator[None]:
    # First to be set up, so last to look: after every other fixture has cleaned up.
    with nothing_left(tmp_path):
        yield


@pytest.fixture(scope="session")
def bystander() -> Iterator[frozenset[int]]:
    """Processes of an agent of another installation on the same machine."""
    with host() as other:
        other.template("world", WORLD)
        other.ok("spawn", "-t", "world", "--name", "a")
        agent, daemon = other.agent("a"), other.daemon_pid()
        assert daemon is not None
        own = {p.pid for p in processes_of(other, agent)} | {keeper_pid(other, agent), daemon}
        yield frozenset(own | {tmux_server(other).pid})


@pytest.fixture
def begin_trial(
    request: pytest.FixtureRequest, bystander: frozenset[int]
) -> Callable[..., AbstractContextManager[Trial]]:
    """`begin_trial(fault, template=...)`: an agent at work, and the checks afterwards."""
    return partial(trial, request, bystander)
