"""What an assistant is told about a task."""

from __future__ import annotations

import json

from envmgr.services.queue.claiming import Claimed

_SAID_CHARS = 4000


def brief(found: Claimed, *, context: str) -> str:
    """The prompt with which a task is given."""
    task, spec = found.task, found.spec
    parts = [f"Task {task.name} ({spec.type}), given to you by envmgr:", spec.description]
    if spec.input_data:
        parts.append(f"Input: {json.dumps(spec.input_data, ensure_ascii=False)}")
    if spec.locks:
        parts.append(f"Locked for you while you have it: {', '.join(spec.locks)}")
    if context:
        parts.append(context)
    return "\n\n".join([*parts, _how_it_ends(task.name, task.lease)])


def mend(task: str, lease: int, finding: str) -> str:
    """The prompt after a check that failed."""
    return "\n\n".join(
        [f"Task {task} is not done yet: a check failed.", finding[-_SAID_CHARS:], _how_it_ends(task, lease)]
    )


def mark(lease: int) -> str:
    """What tells the prompt of an errand from others."""
    return f"lease_token {lease}"


def _how_it_ends(task: str, lease: int) -> str:
    named = f'task_id "{task}" and {mark(lease)}'
    return (
        f"When it is done, call the tool complete_work with {named}; if it cannot be done, call fail_work with the reason. "
        f"Without these tools run: envmgr task complete {task} --lease-token {lease}, or: envmgr task fail {task} --lease-token {lease}."
    )
