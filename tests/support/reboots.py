"""Play a restart of the machine: what a power cut leaves are files and containers that have ended, nothing that runs."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress

import psutil

from tests.support.host import Host
from tests.support.survive import is_alive, keeper_pid, kill_daemon, processes_of, tmux_processes
from tests.support.wait import eventually

OTHER_BOOT = "11111111-2222-3333-4444-555555555555"


def reboot(here: Host) -> None:
    """End every process of the host's agents at once, and give the store and the keepers' records another boot id."""
    agents = here.agents().values()
    victims = [p for agent in agents for p in processes_of(here, agent)] + tmux_processes(here)
    for agent in agents:
        with suppress(FileNotFoundError, psutil.NoSuchProcess):
            victims.append(psutil.Process(keeper_pid(here, agent)))
    kill_daemon(here)
    for process in victims:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    eventually(lambda: not any(is_alive(process.pid) for process in victims))
    with closing(sqlite3.connect(here.state / "envmgr.db")) as db, db:
        (known,) = db.execute("SELECT value FROM setting WHERE key = 'boot'").fetchone()
        db.execute("UPDATE setting SET value = ? WHERE key = 'boot'", (OTHER_BOOT,))
    for record in here.state.glob("agents/*/keeper.json"):
        record.write_text(record.read_text(encoding="utf-8").replace(known, OTHER_BOOT), encoding="utf-8")
