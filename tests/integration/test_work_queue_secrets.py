"""No secret that somebody writes into a task is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envmgr.core.masking import MASK
from envmgr.core.queueing import Refusal
from envmgr.model.task import CANCELLED_BY_ORCHESTRATOR
from tests.support.queues import ANNA, PAULA, REPO, Claimed, bench, by, wanted
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio

_SHAPED = "hunter2hunter2"
_KNOWN = "corge-grault-1"
_SAID = f"log in with PASSWORD={_SHAPED} or {_KNOWN}"
_KEPT = f"log in with PASSWORD={MASK} or {MASK}"
_DATA: dict[str, object] = {"api_key": "abcdefgh12345678", "steps": [_SAID], "port": 8080, "lease_token": 7}


def _stored(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.glob("state.db*"))


@proves("QUEUE-014")
async def test_what_is_to_be_done_is_kept_and_given_out_without_secrets(tmp_path: Path) -> None:
    async with bench(tmp_path, secrets={_KNOWN}) as q:
        one = wanted(_SAID, locks=["src"])
        one = replace(one, spec=replace(one.spec, input_data=_DATA))
        await q.submit(one)
        await q.submit(*[one] * 20)

        found = await q.claim()

        assert isinstance(found, Claimed)
        kept = {"api_key": MASK, "steps": [_KEPT], "port": 8080, "lease_token": 7}
        assert (found.spec.description, found.spec.input_data) == (_KEPT, kept)
        shown = await q.queue.see(REPO, "t-000021")
        assert (shown.spec.description, shown.spec.input_data) == (_KEPT, kept)
        _hold_none(tmp_path)


@proves("QUEUE-014")
async def test_the_same_request_is_known_by_its_key_though_it_holds_a_secret(tmp_path: Path) -> None:
    async with bench(tmp_path) as q:
        (one,) = await q.submit(wanted(_SAID), key="k", told=_SAID)
        (two,) = await q.submit(wanted(_SAID), key="k", told=_SAID)

        assert one.task_id == two.task_id


@proves("QUEUE-014")
@pytest.mark.parametrize("end", ["complete", "give_up", "fail", "hand_back", "cancel"])
async def test_what_came_of_a_task_is_kept_without_secrets(tmp_path: Path, end: str) -> None:
    async with bench(tmp_path, secrets={_KNOWN}) as q:
        await q.add(tries=5)
        task = await q.got()
        told: Any = {"error_code": f"token={_SHAPED}", "error_message": _SAID, "result": _DATA}
        match end:
            case "complete":
                await q.queue.complete(by(task), result=_DATA)
            case "give_up":
                await q.queue.give_up(by(task), **told)
            case "fail":
                await q.queue.fail(by(task), **told)
            case "hand_back":
                await q.queue.hand_back(by(task), why=_SAID)
            case _:
                await q.queue.cancel(REPO, task.name, by=PAULA, reason=_SAID)

        (attempt,) = (await q.queue.see(REPO, task.name)).attempts
        assert attempt.outcome != "running"
        assert MASK in f"{attempt.error_message}{attempt.result}"
        assert MASK in " ".join(await q.queue.called_off(ANNA.id)) or end != "cancel"
        _hold_none(tmp_path)
        assert not any(_SHAPED in str(event.data) for event in q.told)


@proves("QUEUE-014")
async def test_a_convention_among_codes_is_left_as_it_is(tmp_path: Path) -> None:
    async with bench(tmp_path) as q:
        await q.add()
        task = await q.got()

        await q.queue.give_up(by(task), error_code=CANCELLED_BY_ORCHESTRATOR)

        assert (await q.task(task.name)).error_code == CANCELLED_BY_ORCHESTRATOR
        assert (await q.done(task)).refusal is Refusal.CANCELLED


def _hold_none(folder: Path) -> None:
    stored = _stored(folder)
    for secret in (_SHAPED, _KNOWN, str(_DATA["api_key"])):
        assert secret.encode() not in stored
