"""Secrets are taken out of what is said of a task before it is stored: lists, prompts and answers are made of that."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import cast

from anyio import to_thread

from envmgr.core.masking import masked, stripped
from envmgr.services.queue.ending import Ending
from envmgr.services.queue.submitting import Submission

_FEW = 10


async def clean_all(wanted: Sequence[Submission], secrets: Collection[str]) -> Sequence[Submission]:
    """What is to be done, and what its doers need to know."""
    known = tuple(secrets)  # others may add to it meanwhile
    if len(wanted) <= _FEW:
        return [_clean(one, known) for one in wanted]
    # Megabytes take a good part of a second.
    return await to_thread.run_sync(lambda: [_clean(one, known) for one in wanted])


def clean(ending: Ending, secrets: Collection[str]) -> Ending:
    """What came of an attempt, and why."""
    known = tuple(secrets)
    return replace(
        ending,
        error_code=masked(ending.error_code, known),
        error_message=masked(ending.error_message, known),
        result=None if ending.result is None else _data(ending.result, known),
    )


def _clean(one: Submission, known: Collection[str]) -> Submission:
    spec = one.spec
    return replace(
        one,
        spec=replace(
            spec,
            description=masked(spec.description, known, is_prose=True),
            input_data=_data(spec.input_data, known),
        ),
    )


def _data(data: Mapping[str, object], known: Collection[str]) -> Mapping[str, object]:
    return cast("Mapping[str, object]", stripped(data, known)) if data else data
