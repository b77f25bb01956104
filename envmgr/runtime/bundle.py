"""One file per incident with all that helps to understand it, written in the background: recovery never waits for it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from envmgr.aio import blocking, tasks
from envmgr.core.masking import stripped
from envmgr.errors import EnvmgrError
from envmgr.model.incident import Incident, Symptom
from envmgr.protocols.store import Transaction
from envmgr.runtime.actor import Actor
from envmgr.runtime.bundle_parts import PARTS, Gather, Json, Subject
from envmgr.runtime.secrecy import values_of
from envmgr.runtime.supervisor import Supervisor

log = logging.getLogger(__name__)

MOST_BYTES = 1_000_000
_PART_S = 5.0
_AT_ONCE = 2
_OUTPUT = ("logs",)


class Bundles:
    """Gathers what can be had at once; a part that cannot be had says why."""

    def __init__(self, supervisor: Supervisor, group: TaskGroup) -> None:
        self._supervisor = supervisor
        self._group = group
        self._turns = anyio.CapacityLimiter(_AT_ONCE)

    def begin(self, actor: Actor, incident: Incident, symptom: Symptom) -> None:
        """Write the bundle of a new incident; returns at once."""
        tasks.start(self._group, "a bundle", self._make, actor, incident, symptom)

    async def _make(self, actor: Actor, incident: Incident, symptom: Symptom) -> None:
        try:
            async with self._turns:
                inc = await self._supervisor.incarnation(actor)
                about = Subject(actor=actor, inc=inc, incident=incident, symptom=symptom)
                secrets = await values_of(inc, within_s=_PART_S)
                parts = _left_out(await _gather(about), secrets.unknown)
                text = _fitting({name: stripped(part, secrets.known) for name, part in parts.items()})
                name = f"{incident.id}.json"
                await blocking.act("file", write_whole, self._supervisor.layout.incidents / name, text)
                await self._supervisor.systems.store.write(lambda tx: _note(tx, incident.id, name))
        except EnvmgrError as error:  # the incident stands without it
            log.warning("no bundle", extra={"incident": incident.id, "why": error.message})
        except Exception:  # a task of the daemon owns its boundary
            log.exception("no bundle", extra={"incident": incident.id})


async def _gather(about: Subject) -> dict[str, Json]:
    found: dict[str, Json] = dict.fromkeys(PARTS)

    async def one(name: str, gather: Gather) -> None:
        try:
            with anyio.fail_after(_PART_S):
                found[name] = await gather(about)
        except TimeoutError:
            found[name] = {"missing": f"not known within {_PART_S:g} s"}
        except EnvmgrError as error:
            found[name] = {"missing": error.message}
        except Exception as error:  # noqa: BLE001  one part that fails takes no other with it
            found[name] = {"missing": f"{type(error).__name__}: {error}"}

    async with anyio.create_task_group() as group:
        for name, gather in PARTS.items():
            group.start_soon(one, name, gather)
    return found


def _left_out(parts: Mapping[str, Json], why: str) -> dict[str, Json]:
    """Without what programs have written themselves."""
    return {name: {"missing": why} if why and name in _OUTPUT else part for name, part in parts.items()}


def _fitting(parts: Mapping[str, Json]) -> str:
    """As JSON of at most 1 MB: what is too much goes, the least telling part first."""
    kept = dict(parts)
    text = _dumped(kept)
    for name in reversed(list(parts)):
        if len(text.encode()) <= MOST_BYTES:
            break
        kept[name] = {"missing": "left out: the bundle would be larger than 1 MB"}
        text = _dumped(kept)
    return text


def _dumped(parts: Mapping[str, Json]) -> str:
    return json.dumps(parts, indent=1, default=str, ensure_ascii=False)


def write_whole(path: Path, text: str) -> None:
    """There whole or not at all, and for its owner only. Blocking."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(
        os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _note(tx: Transaction, incident: int, name: str) -> None:
    known = tx.incident(incident)
    if known is not None:
        tx.replace_incident(replace(known, bundle=name))
