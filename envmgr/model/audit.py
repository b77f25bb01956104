"""The audit trail: who asked for what, whether they might, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Decision(StrEnum):
    """Whether somebody might do what they asked for."""

    ALLOWED = "allowed"
    DENIED = "denied"


OK = "ok"
"""Outcome of what was done; all others are codes of errors, and reasons of answers that say no."""

SEALED = "audit checkpoint"
"""What the daemon's log calls one, with its number and hash."""


class Entry(NamedTuple):
    """What is recorded of one call. A tuple, for one is made with every call; its fields are the columns of the table.

    Attributes:
        request: Id of the request; rows of one call share it.
        actor: The principal's id.
        target: What it was about: a lock's target, a task, an agent.
        params, result: Canonical JSON, without secrets, and not long.
        latency_us: Until the answer; None in the row that went with the call's change, before there was one.
    """

    at_us: int
    request: str
    actor: str
    kind: str
    name: str
    agent: str
    session: str
    operation: str
    target: str
    decision: str
    outcome: str
    params: str
    result: str
    latency_us: int | None = None


class Row(NamedTuple):
    """An entry in its place. `hash` covers `prev`, `seq` and `entry`; `prev` is the hash of the row before it."""

    seq: int
    entry: Entry
    prev: bytes
    hash: bytes


class Head(NamedTuple):
    """The newest row."""

    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which rows are asked for; an empty value asks for all.

    Attributes:
        after_us, before_us: Unix time in microseconds.
        actor: Id or name of whoever asked.
        operation: A name, or the beginning of several with a dot at its end, such as `lock.`.
        agent, agent_name: Either fits: names are given again, and agents that are gone are known by theirs.
        target: A part of it.
    """

    after_us: int = 0
    before_us: int = 0
    actor: str = ""
    agent: str = ""
    agent_name: str = ""
    operation: str = ""
    target: str = ""
    decision: str = ""
    outcome: str = ""
    request: str = ""


class Mark(StrEnum):
    """What a signed statement outside of the database says."""

    CHECKPOINT = "checkpoint"
    """These rows are there, and are these."""
    CUT = "cut"
    """These rows are in a file now, and may be missing from the database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One line of the file of checkpoints.

    Attributes:
        number: From 1, without gaps.
        first, last: The rows it is about.
        head: Hash of the last row, in hexadecimal, as all that follow.
        root: Of the Merkle tree over the rows' hashes.
        file, digest: Of a cut: name and SHA-256 of the file that holds the rows.
        prev: SHA-256 of the statement before it, with its signature; empty in the first.
        key: Fingerprint of the public key.
        signature: Ed25519 over everything else.
    """

    mark: Mark
    number: int
    first: int
    last: int
    head: str
    root: str
    at_us: int
    instance: str
    prev: str
    key: str
    file: str = ""
    digest: str = ""
    signature: str = ""


class Wrong(StrEnum):
    """What may be wrong with the trail."""

    CHANGED = "changed"
    CHAIN = "chain"
    MISSING = "missing"
    TRUNCATED = "truncated"
    CHECKPOINT = "checkpoint"
    STATEMENT = "statement"
    SIGNATURE = "signature"
    KEY = "key"
    CUT = "cut"
    FILE = "file"
    GUARD = "guard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something about the trail that is not as it was written. `seq` is where it begins; 0 when it has no place."""

    wrong: Wrong
    says: str
    seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a look at the whole trail.

    Attributes:
        first, last, head: Of the rows in the database.
        sealed: The last row that a checkpoint vouches for.
        sealed_us: When the newest checkpoint was made; 0 without one.
        newest: Its hash.
        filed: Rows checked in files.
        notes: What is worth knowing and not wrong.
    """

    checked: int
    first: int
    last: int
    head: str
    statements: int
    sealed: int
    sealed_us: int
    newest: str
    filed: int
    key: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """That a row is among those that a signed statement is about; can be checked without envmgr's database.

    Attributes:
        index: Of the row among the statement's.
        path: Hashes from the leaf to the root of the tree.
        public: The key to check the signature with, in hexadecimal.
    """

    row: Row
    index: int
    path: tuple[str, ...]
    statement: Statement
    public: str
