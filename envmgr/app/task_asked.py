"""What is asked of the queue, as the queue takes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from envmgr.app import moments
from envmgr.app.task_fields import BatchTask, Limits, TaskFields
from envmgr.app.task_present import Clock
from envmgr.core.targets import parse_target
from envmgr.errors import UsageError
from envmgr.model.task import Dependents, TaskSpec, Usage
from envmgr.services.queue.submitting import Submission


def submission(
    ask: TaskFields | BatchTask, clock: Clock, *, key: str = "", place: tuple[str | int, ...] = ()
) -> Submission:
    """What the queue takes in.

    Args:
        place: Where it stands in the request.

    Raises:
        UsageError: A target or a moment is none; its details say where.
    """
    spec = TaskSpec(
        type=ask.task_type,
        description=ask.description,
        input_data=ask.input_data,
        priority=ask.priority,
        capabilities=tuple(dict.fromkeys(ask.capabilities)),
        locks=_locks(ask, place),
        max_attempts=ask.max_attempts,
        dependents=Dependents(ask.dependents),
        budget=limits(ask.budget),
        key=key,
    )
    return Submission(
        spec=spec,
        depends_on=tuple(ask.depends_on),
        parent=ask.parent,
        discovered_from=ask.discovered_from,
        related=tuple(ask.related),
        run_at=_steady(ask.run_at, clock, at=(*place, "run_at")),
        deadline_at=_steady(ask.deadline, clock, at=(*place, "deadline")),
        place=place,
    )


def _locks(ask: TaskFields, place: tuple[str | int, ...]) -> tuple[str, ...]:
    found = []
    for number, text in enumerate(ask.claims):
        with _told_at(*place, "claims", number):
            found.append(parse_target(text).text)
    return tuple(dict.fromkeys(found))


def _steady(text: str, clock: Clock, *, at: tuple[str | int, ...]) -> float | None:
    if not text:
        return None
    with _told_at(*at):
        return clock.steady_of(moments.read(text, now=clock.now))


@contextmanager
def _told_at(*place: str | int) -> Iterator[None]:
    """What is wrong is wrong there: in the request, as JSON."""
    try:
        yield
    except UsageError as error:
        raise type(error)(error.message, hint=error.hint, details={"at": list(place)}) from error


def limits(given: Limits) -> Usage:
    """What an attempt may use, or used."""
    return Usage(**given.model_dump())
