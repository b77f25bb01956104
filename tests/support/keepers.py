"""Keepers in tests: launches in one line, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from envmgr.drivers.keeper.client import UnixKeepers, read_record
from envmgr.model.observe import ProcessIdentity
from envmgr.model.service import LogPolicy, ProcessLimits
from envmgr.protocols.keepers import KeeperRecord, Launch, Listen
from tests.support.wait import eventually

OWNER = "test/agent"

# Says "ready" and then takes no notice of TERM.
STUBBORN = (
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
)

_USUAL_LOGS, _NO_LIMITS = LogPolicy(), ProcessLimits()


@contextlib.contextmanager
def keeper_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for a keeper; on leaving its keeper, if one lives, ends everything it holds and itself."""
    home = tmp_path / "agent"
    try:
        yield home
    finally:
        end_keeper(home)


def end_keeper(home: Path) -> None:
    """As a person would: TERM, and wait until it has gone."""
    record = read_record(home)
    if record is not None and lives(record.identity):
        os.kill(record.identity.pid, signal.SIGTERM)
        eventually(lambda: not lives(record.identity), within_s=15)


async def record_of(home: Path) -> KeeperRecord:
    record = await UnixKeepers().record(home)
    assert record is not None
    return record


def lives(who: ProcessIdentity | None) -> bool:
    """Whether exactly this process runs."""
    assert who is not None
    try:
        fields = Path(f"/proc/{who.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return fields[0] != "Z" and int(fields[19]) == who.start_ticks


def runs(pid: int) -> bool:
    """Whether a process of this pid is there and no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def sh(script: str) -> tuple[str, ...]:
    """Words that run a shell script."""
    return ("/bin/sh", "-c", script)


def py(script: str, *arguments: str) -> tuple[str, ...]:
    """Words that run a Python script."""
    return (sys.executable, "-I", "-S", "-c", script, *arguments)


def launch(
    *argv: str,
    service: str = "web",
    generation: int = 1,
    cwd: Path = Path("/"),
    env: Mapping[str, str] | None = None,
    logs: LogPolicy = _USUAL_LOGS,
    limits: ProcessLimits = _NO_LIMITS,
    tty: bool = False,
    stdin: bool = False,
    listen: tuple[Listen, ...] = (),
) -> Launch:
    return Launch(
        service=service,
        generation=generation,
        argv=argv,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], **(env or {})},
        logs=logs,
        limits=limits,
        tty=tty,
        stdin=stdin,
        listen=listen,
    )
