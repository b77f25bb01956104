"""Short instructions for assistants, as skills: where they go, what they say, and how to take them back.

Assistants read the Agent Skills format: a folder with a `SKILL.md` whose head names and describes it. Claude Code looks in
`.claude/skills`; Codex, Gemini CLI and opencode share `.agents/skills`, where a second copy elsewhere would make them warn.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

NAME = "envmgr"
_FOLDERS = {
    "claude": ".claude/skills",
    "codex": ".agents/skills",
    "gemini": ".agents/skills",
    "opencode": ".agents/skills",
}
ASSISTANTS = tuple(_FOLDERS)

BODY = """# Working beside other agents

Other agents work on this repository at the same time, each in a tree of its own. envmgr keeps you out of each other's way: its MCP
tools are named below; where there are none, the command `envmgr` does the same (`envmgr help`).

## Begin

1. `register_session` with what you can do.
2. `read_handoff`: somebody may have left work half done.
3. `recall` with a few words about the work: others may know the traps.

## Before you edit

1. `acquire_lock` with `targets` (paths, folders, patterns, or keys such as `db:users` and `api:GET /users`) and a `reason`.
2. `ok: false` with `reason: locked_by_other` means: do not edit. Do something else, or ask again with `wait_s`.
   `why_lock` tells who is in the way.
3. `release_lock` as soon as the edit is committed.

## Work from the queue

1. `get_work` gives you one task and its `lease_token`.
2. `heartbeat_task` while a step takes minutes.
3. `complete_work`, or `fail_work` with what went wrong, with the token. `stale_lease` means that another agent has the task now:
   stop working on it.
4. New work that you find: `submit_work`, do not do it on the side.

## Stop

1. Commit, or say what is not committed.
2. `write_handoff`: done, in progress, decisions, next steps, files.
3. `remember` what you learned that the code does not tell: what happened, the outcome, the lesson.

`help` with a topic (locks, queue, handoffs, sessions, memory, changes, audit) or the name of a tool tells more.
"""
_HEAD = """---
name: {name}
description: How to work beside other agents on this repository - lock before editing, take tasks from the queue, leave handoffs, share what was learned. Use at the start of a session, before editing files, when taking or ending a task, and before stopping.
metadata:
  written-by: envmgr
  for: {for_}
  folders-made: "{made}"
  sha256: {digest}
---

"""
_DIGEST = re.compile(r"^  sha256: ([0-9a-f]{64})$", re.MULTILINE)
_NO_DIGEST = "0" * 64


class Found(StrEnum):
    """What stands where a skill belongs."""

    NOTHING = "missing"
    OURS = "installed"
    OLD = "outdated"
    """Ours, unchanged, of another version."""
    THEIRS = "changed"
    """A person wrote or changed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """A file that is, or is to be, in one of the places.

    Attributes:
        wanted_by: The assistants it was written for.
        made: How many of the folders above it were made for it.
    """

    path: Path
    found: Found = Found.NOTHING
    wanted_by: tuple[str, ...] = ()
    made: int = 0


def places(top: Path, assistants: Iterable[str]) -> dict[Path, list[str]]:
    """Files below a repository or a home, and which assistants read each."""
    found: dict[Path, list[str]] = {}
    for assistant in assistants:
        found.setdefault(top / _FOLDERS[assistant] / NAME / "SKILL.md", []).append(assistant)
    return found


def look(path: Path) -> Skill:
    """What is there now."""
    if not path.exists() and not path.is_symlink():
        return Skill(path=path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return Skill(path=path, found=Found.THEIRS)
    said = _DIGEST.search(text)
    if path.is_symlink() or said is None or _digest(text) != said[1]:
        return Skill(path=path, found=Found.THEIRS)
    wanted_by, made = _noted(text, "for").split(), int(_noted(text, "folders-made").strip('"'))
    is_fresh = text == text_for(wanted_by, made=made)
    return Skill(
        path=path, found=Found.OURS if is_fresh else Found.OLD, wanted_by=tuple(wanted_by), made=made
    )


def put(skill: Skill, assistants: Iterable[str]) -> Skill:
    """Write it for these assistants too. Only for what is not a person's."""
    wanted_by = [name for name in ASSISTANTS if name in {*skill.wanted_by, *assistants}]
    made = skill.made if skill.found is not Found.NOTHING else _make(skill.path.parent)
    beside = skill.path.with_name(f".{NAME}-{os.getpid()}")
    beside.write_text(text_for(wanted_by, made=made), encoding="utf-8")
    beside.replace(skill.path)
    return Skill(path=skill.path, found=Found.OURS, wanted_by=tuple(wanted_by), made=made)


def take_back(skill: Skill, assistants: Iterable[str]) -> Skill:
    """Remove it, and the folders that were made for it, unless other assistants want it. Only for what is not a person's."""
    rest = [name for name in skill.wanted_by if name not in set(assistants)]
    if rest:
        skill.path.write_text(text_for(rest, made=skill.made), encoding="utf-8")
        return Skill(path=skill.path, found=Found.OURS, wanted_by=tuple(rest), made=skill.made)
    skill.path.unlink()
    for folder in list(skill.path.parents)[: skill.made]:
        if any(folder.iterdir()):
            break
        folder.rmdir()
    return Skill(path=skill.path)


def _make(folder: Path) -> int:
    """Make a folder and those above it; how many that were."""
    absent = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return len(absent)


def text_for(wanted_by: Iterable[str], *, made: int, body: str = BODY) -> str:
    """The file, with a mark by which a change of it is seen."""
    blank = _HEAD.format(name=NAME, for_=" ".join(wanted_by), made=made, digest=_NO_DIGEST) + body
    return blank.replace(_NO_DIGEST, _digest(blank), 1)


def _digest(text: str) -> str:
    blank = _DIGEST.sub(f"  sha256: {_NO_DIGEST}", text, count=1)
    return hashlib.sha256(blank.encode()).hexdigest()


def _noted(text: str, key: str) -> str:
    """Of the head."""
    found = re.search(rf"^  {key}: (.*)$", text, re.MULTILINE)
    return found[1] if found else ""
