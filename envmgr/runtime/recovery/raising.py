"""One step more of a limit that was hit: once, and only what the machine has."""

from __future__ import annotations

from collections.abc import Sequence

from envmgr.core import raised
from envmgr.errors import Conflict
from envmgr.model.incident import FailureClass
from envmgr.model.spec import AgentSpec
from envmgr.runtime.tiers import megabytes

_OF_LIMITS = (FailureClass.MEMORY, FailureClass.DESCRIPTORS)


def raise_limits(
    spec: AgentSpec,
    services: Sequence[str],
    failure: FailureClass | None,
    *,
    free_bytes: int,
    is_again: bool,
) -> tuple[AgentSpec, Sequence[str]]:
    """The spec with one step of limits for these services, if it is limits that failed; and what was raised, for people.

    Args:
        free_bytes: What the machine can give.
        is_again: A crash has cut the measure off; what it raised then is not raised again.

    Raises:
        Conflict: They were raised once, there is none to raise, or the machine has no room.
    """
    if failure not in _OF_LIMITS:
        return spec, ()
    said = []
    for name in services:
        if raised.has(spec, name):
            if not is_again:
                raise Conflict(
                    f"the limits of {name} were raised once already",
                    hint="Raise them in the template, if it needs that much.",
                )
            said.append(f"limits of {name} raised")
            continue
        limits = next(s.limits for s in spec.services if s.name == name)
        more = raised.step(limits, memory=failure is FailureClass.MEMORY)
        if more != limits:
            _refuse_without_room(name, (more.memory_bytes or 0) - (limits.memory_bytes or 0), free_bytes)
            spec = raised.remember(spec, name, more)
            said.append(f"limits of {name} raised{_by(limits.memory_bytes, more.memory_bytes)}")
    if not said:
        raise Conflict(
            f"{', '.join(services)} has no limit of its own that could be raised",
            hint="What the machine has is used up: see `envmgr capacity`.",
        )
    return spec, said


def _refuse_without_room(name: str, more_bytes: int, free_bytes: int) -> None:
    if more_bytes > free_bytes:
        raise Conflict(
            f"{name} would need {megabytes(more_bytes)} more, and the machine has"
            f" {megabytes(max(0, free_bytes))} to spare",
            hint="Stop some agents (`envmgr ls`).",
        )


def _by(old: int | None, new: int | None) -> str:
    return (
        ""
        if old is None or new is None or old == new
        else f" from {megabytes(old)} to {megabytes(new)} of memory"
    )
