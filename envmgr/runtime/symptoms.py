"""Gather what tells why a unit failed, as far as that can be had at once."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path

import anyio

from envmgr.aio import blocking
from envmgr.core.masking import masked
from envmgr.errors import EnvmgrError
from envmgr.model.incident import Part, Symptom
from envmgr.model.service import ServiceKind, ServiceSpec, ServiceState
from envmgr.protocols.keepers import Held
from envmgr.runtime import last_lines
from envmgr.runtime.actor import Actor
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.looking import secrets_of
from envmgr.runtime.outcomes import how
from envmgr.runtime.subjects import port_thief, subject

LINES = 200
_LOOK_S = 3.0
_JUST_NOW_S = 60.0
_SCARCE = 0.01
_SCARCE_BYTES = 500_000_000
_DOWN = (ServiceState.FAILED, ServiceState.STOPPED, ServiceState.STARTING, ServiceState.WAITING)


def of_end(inc: Incarnation, unit: ServiceSpec, held: Held) -> Symptom:
    """What the end of a unit alone tells."""
    what = how(unit, held)
    error = held.error
    if not error and held.exit_code in unit.fatal_exit_codes:
        error = f"it {what}, which is among its `fatal_exit_codes`"
    return Symptom(
        part=Part.SERVICE,
        subject=unit.name,
        words=f"{unit.name} {'could not be executed: ' if held.error else ''}{what}",
        at=inc.systems.steady() - (max(0.0, inc.systems.now() - held.ended_at) if held.ended_at else 0.0),
        exit_code=held.exit_code,
        exit_signal=held.exit_signal,
        error=error,
        out_of_memory=held.out_of_memory,
        over_limit=held.over_limit,
    )


async def enriched(
    symptom: Symptom, actor: Actor, inc: Incarnation, unit: ServiceSpec, held: Held | None
) -> Symptom:
    """With its last lines, who has its port, how its disks and dependencies are. What cannot be had in time is left out."""
    output: tuple[str, ...] = symptom.output
    foreign, disk_is_full = symptom.foreign, False

    async def read() -> None:
        nonlocal output
        output = await _output(inc, held) if held is not None else ()

    async def ask() -> None:
        nonlocal foreign
        foreign = foreign or await _thief(inc, unit, held)

    async def weigh() -> None:
        nonlocal disk_is_full
        folders = (inc.path, inc.layout.state_dir)
        disk_is_full = await blocking.look("file", _LOOK_S, _is_full, folders)

    async with anyio.create_task_group() as group:
        for part in (read, ask, weigh):
            group.start_soon(_quietly, part)
    return replace(
        symptom,
        output=output,
        foreign=foreign,
        disk_is_full=disk_is_full,
        waits_for=waits_for(actor, unit),
    )


async def _quietly(part: Callable[[], Awaitable[None]]) -> None:
    with anyio.move_on_after(_LOOK_S):
        try:
            await part()
        except (EnvmgrError, OSError):  # a symptom with one sign less is still one
            return


async def _output(inc: Incarnation, held: Held) -> tuple[str, ...]:
    known = (await secrets_of(inc)).values()
    lines = await blocking.look("file", _LOOK_S, last_lines.of_launch, held, count=LINES)
    return tuple(masked("\n".join(lines), known).splitlines())


async def _thief(inc: Incarnation, unit: ServiceSpec, held: Held | None) -> str:
    if unit.kind is not ServiceKind.PROCESS or not unit.ports:
        return ""
    taken = await port_thief(inc, unit, subject(inc, unit, held, {}))
    return str(taken.details["owner"]) if taken is not None else ""


def waits_for(actor: Actor, unit: ServiceSpec) -> str:
    """A unit that this one needs and that is surely not well; empty when there is none."""
    for edge in unit.depends_on:
        outcome = actor.services.get(edge.service)
        if edge.required and outcome is not None and outcome.state in _DOWN:
            return edge.service
    return ""


def _is_full(folders: Iterable[Path]) -> bool:
    """Blocking. Large disks have room at 1 %, small ones never have 500 MB."""
    for folder in folders:
        try:
            disk = os.statvfs(folder)
        except OSError:  # a folder that is gone is another matter
            continue
        scarce_bytes = min(_SCARCE * disk.f_blocks * disk.f_frsize, _SCARCE_BYTES)
        if disk.f_bavail * disk.f_frsize < scarce_bytes or disk.f_favail < _SCARCE * disk.f_files:
            return True
    return False


async def with_edits(symptom: Symptom, inc: Incarnation) -> Symptom:
    """Also whether its source is being edited; that asks git, which may take its time."""
    return replace(symptom, is_mid_edit=is_just_now(await edited_at(inc) or 0.0, inc.systems.now()))


async def edited_at(inc: Incarnation) -> float | None:
    """When a file that git does not ignore was written, or a commit made, in Unix time; None when nobody can tell."""
    with anyio.move_on_after(_LOOK_S):
        try:
            return await _edited_at(inc)
        except (EnvmgrError, OSError):
            return None
    return None


def is_just_now(edited: float, now: float) -> bool:
    """Whether an edit is so young that the next one may follow."""
    return edited > now - _JUST_NOW_S


async def _edited_at(inc: Incarnation) -> float:
    tree = inc.worktree or inc.prior
    if tree is None:
        return 0.0
    work = await inc.systems.workspaces.work(tree)
    paths = [tree.path / name for name in work.changed]
    return await blocking.look("file", _LOOK_S, _newest, tree.path, paths)


def _newest(tree: Path, paths: Iterable[Path]) -> float:
    """Blocking. A file that was deleted counts by its folder."""
    moments = [_committed_at(tree)]
    for path in paths:
        for seen in (path, path.parent):
            try:
                moments.append(seen.lstat().st_mtime)
                break
            except OSError:
                continue
    return max(moments)


def _committed_at(tree: Path) -> float:
    """When HEAD of this worktree moved last, as git notes it; 0 for one that has not moved since it was made."""
    try:
        admin = tree / (tree / ".git").read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        last = (admin / "logs" / "HEAD").read_text(encoding="utf-8", errors="replace").splitlines()[-1]
        before, after, *_ = last.partition("\t")[0].split(" ")
        at = float(last.partition("\t")[0].rsplit(" ", 2)[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return at if before != after and before.strip("0") else 0.0
