"""The work queue through the daemon, against a queue in PostgreSQL; and what blocked tasks cost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from scripts.bench_rows import postgres
from scripts.bench_rows.queue_inside import work_queue
from scripts.bench_rows.rows import Row, bench_host, median, row
from scripts.bench_rows.talking import CLIENTS, Talker, together, workers

_QUEUED = 100_000
_BLOCKED = 50_000
_SECONDS = 4.0
_ROUNDS = 5
_BATCH = 1000
_CLAIMS = 200


def rows() -> Iterator[Row]:
    """Rounds alternate, so that both meet the same noise."""
    yield from _against_postgres()
    yield _behind_blocked()


def _against_postgres() -> Iterator[Row]:
    found: dict[str, list[list[Any]]] = {"inside": [], "socket": [], "postgres": []}
    inside = work_queue(_QUEUED)
    with inside as work, workers() as keys, postgres.cluster(_QUEUED) as where:
        _submit(Talker(keys[0]), [_task(number) for number in range(_QUEUED)])
        names = [(where, f"agent-{number}") for number in range(CLIENTS)]
        for _ in range(_ROUNDS):
            found["postgres"].append(_joined(together(_through_postgres, names)))
            found["inside"].append(work())
            found["socket"].append(_joined(together(_through_daemon, [(key,) for key in keys])))
    rates = {kind: median([len(one) / _SECONDS for one in rounds]) for kind, rounds in found.items()}
    for rounds in found.values():
        done = _joined(rounds)
        assert len(done) == len(set(done)), "no task was claimed twice"
    for kind, words, bar in (
        ("inside", "clients inside of the daemon", 2.0),
        ("socket", "client processes over HTTP", None),
    ):
        yield row(
            "coordinate", f"claim + complete, {CLIENTS} {words}, {_QUEUED:,} queued", value=rates[kind], unit="tasks/s",
            reference=rates["postgres"], bar=bar, at_least=True,
            note=f"reference: PostgreSQL, SKIP LOCKED, {CLIENTS} processes; no task was claimed twice",
        )  # fmt: skip


def _joined(parts: Sequence[list[Any]]) -> list[Any]:
    return [one for part in parts for one in part]


def _task(number: int, **more: Any) -> dict[str, Any]:
    return {"description": f"task {number}", "task_type": "fix", "priority": 1 + number % 10, **more}


def _submit(talker: Talker, tasks: Sequence[dict[str, Any]], **more: Any) -> None:
    for at in range(0, len(tasks), _BATCH):
        answer = talker.post("/api/v1/tasks/batch", {"tasks": tasks[at : at + _BATCH], **more})
        assert "tasks" in answer, answer


def _through_daemon(key: str) -> list[str]:
    talker, done = Talker(key), []
    end = time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        task = talker.post("/api/v1/tasks/claim", {})
        body = {"lease_token": task["lease_token"]}
        assert talker.post(f"/api/v1/tasks/{task['task_id']}/complete", body)["ok"]
        done.append(task["task_id"])
    return done


def _through_postgres(where: str, name: str) -> list[int]:
    worker, done = postgres.Worker(where, name), []
    end = time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        done.append(worker.claim_and_complete())
    return done


def _behind_blocked() -> Row:
    """The blocked ones are more urgent, and wait for a task whose time has not come."""
    with bench_host() as host:
        talker = Talker()
        free, full = (str(host.repository(files, {})) for files in (1, 2))
        gate = talker.post("/api/v1/tasks", _task(0, run_at="10h", repo=full))["task_id"]
        _submit(talker, [_task(n, depends_on=[gate]) | {"priority": 1} for n in range(_BLOCKED)], repo=full)
        times: dict[str, list[float]] = {free: [], full: []}
        for repo in times:
            _submit(talker, [_task(n) | {"priority": 5} for n in range(_CLAIMS)], repo=repo)
        for _ in range(_CLAIMS):
            for repo, found in times.items():
                began = time.perf_counter()
                assert talker.post("/api/v1/tasks/claim", {"repo": repo})["ok"]
                found.append((time.perf_counter() - began) * 1000)
    return row(
        "coordinate", f"claim with {_BLOCKED:,} blocked tasks ahead", value=median(times[full]), unit="ms",
        reference=median(times[free]), bar=3.0, note="reference: a queue with no blocked task, on the same daemon",
    )  # fmt: skip
