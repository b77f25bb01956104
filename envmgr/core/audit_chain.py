"""The arithmetic of the audit trail: canonical JSON, the chain of hashes, and trees that prove a row without the others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from json.encoder import encode_basestring_ascii as quoted

from envmgr.model.audit import Entry, Row, Statement

GENESIS = bytes(32)
"""What stands for the hash before the first row."""

_TITLE = b"envmgr-audit-statement-1\n"
canonical = json.JSONEncoder(separators=(",", ":"), sort_keys=True, check_circular=False).encode
"""JSON in one way only: keys sorted, no spaces, nothing but ASCII."""


def chained(prev: bytes, seq: int, entry: Entry) -> bytes:
    """The hash of a row: SHA-256 of the hash before it and of the row as a JSON array, `[seq, at_us, request, ...]`."""
    at_us, *words, latency_us = entry
    # By hand, because it is done with every call: half the time of an encoder's.
    last = "null" if latency_us is None else latency_us
    return sha256(prev + f"[{seq},{at_us},{','.join(map(quoted, words))},{last}]".encode()).digest()


def is_whole(row: Row) -> bool:
    """Whether the row is the one that its hash was made of."""
    return chained(row.prev, row.seq, row.entry) == row.hash


# Merkle trees as in RFC 9162, 2.1: leaves and nodes are hashed differently, so that none passes for the other.


def root(hashes: Sequence[bytes]) -> bytes:
    """Of the tree over these rows' hashes, at least one."""
    return _top([_leaf(one) for one in hashes])


def path(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """What `root_by` needs to get from one of them to the root, from the leaf upwards."""
    leaves = [_leaf(one) for one in hashes]
    found: list[bytes] = []
    while len(leaves) > 1:
        split = _split(len(leaves))
        left, right = leaves[:split], leaves[split:]
        if index < split:
            found.append(_top(right))
            leaves = left
        else:
            found.append(_top(left))
            leaves, index = right, index - split
    return found[::-1]


def root_by(hash_: bytes, index: int, *, count: int, path: Sequence[bytes]) -> bytes:
    """The root that a row's hash and its path lead to. Raises ValueError if the path does not fit the tree."""
    sides: list[bool] = []
    while count > 1:
        split = _split(count)
        sides.append(index < split)
        index, count = (index, split) if index < split else (index - split, count - split)
    if index != 0 or len(sides) != len(path):
        raise ValueError("the path does not fit the tree")
    node = _leaf(hash_)
    for is_left, other in zip(reversed(sides), path, strict=True):
        node = _node(node, other) if is_left else _node(other, node)
    return node


def _top(leaves: Sequence[bytes]) -> bytes:
    """Level by level; a node without a neighbour goes up as it is, which comes to the tree of the RFC."""
    level = list(leaves)
    while len(level) > 1:
        pairs = [_node(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]


def _split(count: int) -> int:
    """The largest power of two below the count."""
    return 1 << (count - 1).bit_length() - 1


def _leaf(hash_: bytes) -> bytes:
    return sha256(b"\0" + hash_).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def signed_part(statement: Statement) -> bytes:
    """What the signature covers: a title, so that it is good for nothing else, and all other fields."""
    fields = {name: value for name, value in asdict(statement).items() if name != "signature"}
    return _TITLE + canonical(fields).encode()


def statement_hash(statement: Statement) -> str:
    """What the next statement names as `prev`."""
    return sha256(signed_part(statement) + statement.signature.encode()).hexdigest()


def row_plain(row: Row) -> dict[str, object]:
    """A row as JSON, from which its hash can be made again."""
    return {"seq": row.seq, **row.entry._asdict(), "prev": row.prev.hex(), "hash": row.hash.hex()}


def row_from(plain: Mapping[str, object]) -> Row:
    """The row of `row_plain`. Raises KeyError, TypeError or ValueError if it is none."""
    entry = Entry(**{name: plain[name] for name in Entry._fields})  # type: ignore[arg-type]
    seq, prev, hash_ = plain["seq"], plain["prev"], plain["hash"]
    if not isinstance(seq, int) or not isinstance(prev, str) or not isinstance(hash_, str):
        raise TypeError("not a row")
    return Row(seq, entry, bytes.fromhex(prev), bytes.fromhex(hash_))
