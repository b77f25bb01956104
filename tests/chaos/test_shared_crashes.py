"""The daemon dies while agents join and leave a shared service; it goes on for those who hold it, and ends with the last."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.survive import remains, settled
from tests.support.wait import eventually

SHOP = """
envmgr: 1
gc: {worktree: remove-if-clean}
services:
  db:
    scope: shared
    command: exec python3 -m http.server $PORT --bind 127.0.0.1
    ports: [http]
    ready: {http: /, period: 300ms}
agent: {kind: command, command: [sleep, '1000']}
"""


@pytest.fixture
def here() -> Iterator[Host]:
    with host() as here:
        here.template("shop", SHOP)
        yield here


def crash(here: Host, point: str, *words: str) -> None:
    """Run a command in a daemon of its own that dies at `point`."""
    here.ok("daemon", "stop")
    ran = here.run(*words, env={"ENVMGR_CRASH_AT": point})
    assert ran.code == 7, (ran, here.daemon_log())


def sharers(here: Host, agent: str) -> list[str]:
    names: list[str] = here.agent(agent)["services"][0]["shared_by"]
    return names


@proves("SHARE-006")
@pytest.mark.parametrize("point", ["after-ports", "after-services"])
def test_who_was_cut_off_while_joining_takes_nothing_from_the_others(here: Host, point: str) -> None:
    here.ok("spawn", "-t", "shop", "--name", "otter")
    crash(here, point, "spawn", "-t", "shop", "--name", "heron")

    assert settled(here, "heron")["lifecycle"] == "error"
    assert sharers(here, "otter") == ["otter"]
    eventually(lambda: here.agent("otter")["services"][0]["state"] == "ready", within_s=10)
    here.ok("stop", "otter")
    assert remains(here) == []


@proves("SHARE-006")
@pytest.mark.parametrize("point", ["after-ports", "after-services"])
def test_the_first_one_cut_off_leaves_nothing(here: Host, point: str) -> None:
    crash(here, point, "spawn", "-t", "shop", "--name", "otter")

    assert settled(here, "otter")["lifecycle"] == "error"
    assert remains(here) == []


@proves("SHARE-006")
@pytest.mark.parametrize("point", ["stop-before-shared", "stop-after-shared"])
def test_the_last_one_cut_off_while_leaving_ends_it_all_the_same(here: Host, point: str) -> None:
    here.ok("spawn", "-t", "shop", "--name", "otter")
    crash(here, point, "stop", "otter")

    assert settled(here, "otter")["lifecycle"] == "stopped"
    assert remains(here) == []
