"""What holds for every test: its own home, one event loop library, nothing skipped in CI."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import settings

pytest_plugins = ["tests.support.no_skips", "tests.chaos.report"]

# A busy machine is not a failed property; an example that fails is printed so that it can be run again.
settings.register_profile("envmgr", deadline=None, print_blob=True)
settings.load_profile("envmgr")

_home = pytest.StashKey[Path]()

# What a person's shell may bring along and a test must not see.
_FOREIGN = ("ENVMGR_", "GIT_", "TMUX", "XDG_", "ANTHROPIC_", "CLAUDE", "NO_COLOR", "FORCE_COLOR")
_OURS = "ENVMGR_TEST_"


def pytest_configure(config: pytest.Config) -> None:
    """Give this process a home of its own, so that no test reads or writes the user's."""
    # Whoever starts us by nohup(1) or with `&` ignores these; every program of the tests would inherit that.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in list(os.environ):
        if name.startswith(_FOREIGN) and not name.startswith(_OURS):
            del os.environ[name]
    # Short, because socket paths below it must stay under 108 bytes (unix(7)).
    home = Path(tempfile.mkdtemp(prefix="em-"))
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Test\n\temail = test@example.invalid\n[init]\n\tdefaultBranch = main\n",
        encoding="utf-8",
    )
    os.environ["HOME"] = str(home)
    # `python` and `envmgr` in commands of tests are the ones under test, not a version switcher that needs the real home.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    os.environ["GIT_CONFIG_NOSYSTEM"] = "1"
    config.stash[_home] = home


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the home again."""
    shutil.rmtree(config.stash[_home], ignore_errors=True)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Envmgr runs on asyncio only (docs/adr/0005)."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _loop_never_blocks(request: pytest.FixtureRequest) -> Iterator[None]:
    """In async tests a call of envmgr that blocks the event loop raises BlockingError."""
    if request.node.get_closest_marker("anyio") is None:
        yield
        return
    with blockbuster_ctx("envmgr"):
        yield
