"""What can be said of a submission without looking at the store."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from envmgr.core.graph import find_cycle
from envmgr.errors import Invalid
from envmgr.model.task import task_number
from envmgr.services.queue.rules import QueueRules
from envmgr.services.queue.submitting import Submission

_MOST_LINKS = 20_000


def check(wanted: Sequence[Submission], rules: QueueRules) -> None:
    """Raises Invalid: too many, a key twice, or a cycle, which is named."""
    if len(wanted) > rules.most_in_batch:
        raise Invalid(
            f"{len(wanted)} tasks in one request; at most {rules.most_in_batch}",
            hint="Split them; tasks of an earlier request are named by their ids.",
        )
    if sum(len(one.ties()) for one in wanted) > _MOST_LINKS:
        raise Invalid(f"more than {_MOST_LINKS} dependencies in one request", hint="Split it.")
    _check_cycles(wanted, _by_key(wanted))


def _by_key(wanted: Sequence[Submission]) -> dict[str, Submission]:
    by_key: dict[str, Submission] = {}
    for one in wanted:
        key = one.spec.key
        if task_number(key):
            raise Invalid(
                f"the key {key} looks like the id of a task",
                hint="Use a word.",
                details={"at": one.at("key")},
            )
        if key in by_key:
            times = sum(other.spec.key == key for other in wanted)
            raise Invalid(
                f"the key {key} is given to {times} tasks",
                hint="Keys are unique in a request.",
                details={"at": one.at("key"), "see": [by_key[key].at("key")]},
            )
        if key:
            by_key[key] = one
    return by_key


def _check_cycles(wanted: Sequence[Submission], by_key: dict[str, Submission]) -> None:
    cycle = find_cycle({key: one.depends_on for key, one in by_key.items()})
    if not cycle:
        return
    ties = [
        by_key[name].at("depends_on", by_key[name].depends_on.index(after)) for name, after in pairwise(cycle)
    ]
    raise Invalid(
        f"these tasks wait for one another: {' -> '.join(cycle)}",
        hint="Remove one of these dependencies.",
        details={"reason": "dependency_cycle", "cycle": list(cycle), "at": ties[0], "see": ties[1:]},
    )
