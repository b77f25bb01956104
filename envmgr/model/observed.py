"""What agents write, as seen from outside."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class WriteKind(StrEnum):
    """What became of a file, compared with the last commit."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"


class Evidence(StrEnum):
    """How it is known who wrote."""

    WORKTREE = "worktree"
    """It is in the agent's own worktree."""
    TOOL = "tool"
    """The assistant said that it writes this file."""
    COMMAND = "command"
    """The assistant ran a command that names the main checkout."""
    WORKING = "working"
    """Agents were at work, and any of them may have been it; or a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One file that was written. `path` is relative to the top of its checkout, `at` is Unix time."""

    path: str
    kind: WriteKind
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What git says of files that were touched.

    Attributes:
        ignored: Folders among them that git ignores, with a slash at the end.
        mark: To be passed with the next question.
    """

    writes: tuple[Write, ...] = ()
    ignored: tuple[str, ...] = ()
    mark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedChange(Write):
    """The newest write of one file by one agent.

    Attributes:
        seq: Only grows; a file that is written again gets a new one. 0 until it is stored.
        repo: Top of the main checkout.
        agent: Id; empty when nobody knows.
        name: What people call the agent.
        is_main: It is in the main checkout, not in the agent's worktree.
        violates: Token of the grant of somebody else that stood in the way; 0 when none did.
        holder: `Principal.id` of who had that grant.
        holder_name: What people call them.
    """

    seq: int = 0
    repo: str
    agent: str = ""
    name: str = ""
    is_main: bool = False
    evidence: Evidence = Evidence.WORKTREE
    violates: int = 0
    holder: str = ""
    holder_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Up to where an agent has been told: number of the last change, and token of the last grant."""

    change: int = 0
    token: int = 0
