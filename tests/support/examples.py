"""For every operation of the registry an input that every face can take.

A new operation needs an entry here; tests/e2e/test_faces.py then calls it through all faces and compares what they answer.
`{face}` in a value becomes a word of its own for each face, so that four calls on one host do not meet one another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from envmgr.app.registry import OPERATIONS
from tests.support.faces import Face

# Any throughout: JSON documents.


@dataclass
class Scene:
    """What an example may use: one face's word, and calls that prepare, which go over HTTP."""

    word: str
    http: Face

    def call(self, operation: str, /, **given: Any) -> Any:
        """Prepare something; it must not fail."""
        result = self.http.call(OPERATIONS[operation], given)
        assert not (isinstance(result, dict) and "problem" in result), (operation, result)
        return result

    def agent(self, kind: str = "otter") -> str:
        """An agent of this face's own, at work; made when it is first asked for."""
        name = f"{kind}-{self.word}"
        if name not in {agent["name"] for agent in self.call("agent.list", all=True)["agents"]}:
            self.call("agent.spawn", template="sleeper", name=name, wait=True)
        return name


Given = Mapping[str, Any] | Callable[[Scene], Mapping[str, Any]]


@dataclass(frozen=True)
class Example:
    """An input.

    Attributes:
        given: The fields, or who makes them after preparing what they are about.
        fails: Code of the problem that all faces answer with, where a success would end or change the host itself.
        loose: Keys of the result that may differ, because the world does between two calls.
    """

    given: Given = field(default_factory=dict)
    fails: str = ""
    loose: frozenset[str] = frozenset()

    def fields(self, scene: Scene) -> dict[str, Any]:
        """For one face."""
        given = self.given(scene) if callable(self.given) else self.given
        return {key: _worded(value, scene.word) for key, value in given.items()}


def _worded(value: Any, word: str) -> Any:
    if isinstance(value, str):
        return value.replace("{face}", word)
    if isinstance(value, list):
        return [_worded(one, word) for one in value]
    if isinstance(value, dict):
        return {key: _worded(one, word) for key, one in value.items()}
    return value


def _of_agent(scene: Scene) -> dict[str, Any]:
    return {"agent": scene.agent()}


def _of_agents(scene: Scene) -> dict[str, Any]:
    return {"agents": [scene.agent()]}


def _stopped(scene: Scene, kind: str = "seal") -> str:
    name = scene.agent(kind)
    scene.call("agent.stop", agents=[name])
    return name


def _snapshot(scene: Scene) -> str:
    made = scene.call("snapshot.create", agent=scene.agent())
    return str(made["id"])


def _saved(scene: Scene) -> dict[str, Any]:
    name = scene.agent("lynx")
    made = scene.call("snapshot.create", agent=name)
    scene.call("agent.stop", agents=[name])
    return {"agent": name, "snapshot": str(made["id"])}


def _ended(scene: Scene, kind: str = "gull") -> str:
    """An entry of the archive: an agent that was removed."""
    name = _stopped(scene, kind)
    scene.call("agent.rm", agents=[name])
    found = scene.call("archive.list", agent=name)["entries"]
    return str(found[-1]["entry"])


def _without_skill(scene: Scene) -> dict[str, Any]:
    scene.call("skills.remove", agents="claude")
    return {"agents": "claude"}


NOBODY = "no-such-thing"
_AGENTS = {
    "agent.apply": Example(lambda s: {"agent": s.agent(), "yes": True}),
    "agent.attach": Example(_of_agent, loose=frozenset({"argv", "identify"})),
    "agent.drift": Example(_of_agent),
    "agent.env": Example(_of_agent),
    "agent.exec": Example(lambda s: {"agent": s.agent(), "command": ["echo", "hello"]}),
    "agent.fork": Example(lambda s: {"agent": s.agent(), "name": "fork-{face}"}, loose=frozenset({"origin"})),
    "agent.health": Example(_of_agent),
    "agent.list": Example({"all": True}),
    "agent.logs": Example(lambda s: {"agent": s.agent(), "service": "agent", "lines": 3}),
    "agent.plan": Example(_of_agent),
    "agent.recover": Example(lambda s: {"agent": s.agent(), "dry_run": True}),
    "agent.report": Example(
        {"agent": NOBODY, "generation": 1, "hook": "Stop", "payload": {}}, fails="not_found"
    ),
    "agent.restart": Example({"agent": NOBODY}, fails="not_found"),
    "agent.rm": Example(lambda s: {"agents": [_stopped(s)]}),
    "agent.scale": Example({"agent": NOBODY, "counts": ["web=2"]}, fails="not_found"),
    "agent.send": Example(lambda s: {"agent": s.agent(), "prompt": "go on"}),
    "agent.show": Example(_of_agent),
    "agent.spawn": Example({"template": "sleeper", "name": "new-{face}"}),
    "agent.start": Example(lambda s: {"agents": [_stopped(s)]}),
    "agent.stop": Example(lambda s: {"agents": [s.agent("heron")]}),
    "agent.undo": Example({"list": True}),
    "agent.url": Example(_of_agent),
    "agent.why": Example(
        lambda s: {"agent": s.agent("wren")}, loose=frozenset({"decisions", "steps", "notes"})
    ),
}
_HOST = {
    "archive.list": Example(),
    "archive.pin": Example(lambda s: {"entry": _ended(s)}),
    # Its branch is taken from then on.
    "archive.restore": Example(lambda s: {"entry": _ended(s, "tern"), "name": "back-{face}"}),
    "archive.rm": Example(lambda s: {"entries": [_ended(s)]}),
    "archive.show": Example(lambda s: {"entry": _ended(s)}),
    "capacity": Example({"template": "sleeper"}, loose=frozenset({"supplies", "fits"})),
    "daemon.info": Example(),
    "daemon.logs": Example({"lines": 1}),
    "daemon.shutdown": Example(),
    "daemon.start": Example(),
    "daemon.status": Example(),
    "daemon.stop": Example(),
    "doctor": Example(),
    "down": Example(),
    "events": Example({"limit": 1}),
    "events.add": Example({"notes": [{"kind": "note.example"}]}),
    "help": Example({"topic": "start"}),
    "host.health": Example(),
    "host.live": Example(),
    "host.ready": Example(),
    "host.safe_mode": Example(),
    "incidents": Example(),
    "init": Example({"print": True}),
    "maintain": Example({"dry_run": True}),
    # What other installations have on this machine comes and goes.
    "resource.audit": Example(loose=frozenset({"foreign"})),
    "resource.reap": Example({"dry_run": True}),
    "skills.install": Example(_without_skill),
    "skills.list": Example(),
    "skills.remove": Example({"agents": "codex"}),
    "snapshot.create": Example(_of_agent),
    "snapshot.list": Example(_of_agent),
    "snapshot.restore": Example(_saved, loose=frozenset({"before"})),
    "snapshot.rm": Example(lambda s: {"snapshots": [_snapshot(s)]}, loose=frozenset({"removed"})),
    "template.explain": Example({"template": "sleeper"}),
    "template.import": Example({"files": ["Procfile"], "check": True}),
    "template.list": Example(),
    "template.schema": Example(),
    "template.show": Example({"template": "sleeper"}),
    "template.validate": Example({"template": "sleeper"}),
    "version": Example(),
}


def _locked(scene: Scene) -> dict[str, Any]:
    scene.call("lock.acquire", targets=[f"src/{scene.word}.py"])
    return {"targets": ["src/{face}.py"]}


_LOCKS = {
    "lock.acquire": Example({"targets": ["new/{face}.py", "db:{face}"], "reason": "an example"}),
    "lock.force": Example(lambda s: {**_locked(s), "reason": "an example"}),
    "lock.list": Example(_locked),
    "lock.overlaps": Example({"targets": ["src/**", "src/app.py"]}),
    "lock.release": Example(_locked),
    "lock.renew": Example(_locked),
    "lock.transfer": Example(lambda s: {**_locked(s), "to_agent": s.agent()}),
    "lock.why": Example(lambda s: {"target": _locked(s)["targets"][0]}),
}


def _task(scene: Scene) -> dict[str, Any]:
    made = scene.call("task.submit", description="An example", task_type=f"example-{scene.word}")
    return {"task_id": made["task_id"]}


def _claimed(scene: Scene) -> dict[str, Any]:
    """A task that is held by who asks."""
    wanted = _task(scene)["task_id"]
    while True:
        claimed = scene.call("task.claim", task_types=[f"example-{scene.word}"])
        if claimed["task_id"] == wanted:
            return {"task_id": wanted, "lease_token": claimed["lease_token"]}


def _failed(scene: Scene) -> dict[str, Any]:
    held = _claimed(scene)
    scene.call("task.fail", **held, error_message="for good", retry=False)
    return {"task_id": held["task_id"]}


_TASKS = {
    "task.batch": Example({"tasks": [{"description": "One"}, {"description": "Two"}]}),
    "task.cancel": Example(lambda s: {**_task(s), "reason": "an example"}),
    "task.claim": Example(lambda s: {"task_types": [_typed(s)]}),
    "task.complete": Example(_claimed),
    "task.fail": Example(lambda s: {**_claimed(s), "error_message": "an example"}),
    "task.get": Example(_task),
    "task.graph": Example(_task),
    "task.heartbeat": Example(_claimed),
    # The counts are of the whole queue.
    "task.list": Example(lambda s: {"task_type": _typed(s)}, loose=frozenset({"counts"})),
    "task.retry": Example(_failed),
    "task.submit": Example({"description": "An example", "idempotency_key": "example-{face}"}),
    "task.why": Example(_task),
}


def _typed(scene: Scene) -> str:
    """A type of which there is one task."""
    scene.call(
        "task.submit", description="Alone", task_type=f"alone-{scene.word}", idempotency_key=scene.word
    )
    return f"alone-{scene.word}"


def _memory(scene: Scene) -> str:
    made = scene.call("memory.remember", summary=f"The {scene.word} needs a frozen clock", tags=[scene.word])
    return str(made["memory_id"])


def _handoff(scene: Scene) -> dict[str, Any]:
    scene.call("handoff.write", summary=f"What {scene.word} has left", next_steps=["go on"])
    return {"limit": 1}


def _able(scene: Scene) -> dict[str, Any]:
    scene.call("session.register", session_id=f"able-{scene.word}", capabilities=[scene.word])
    return {"capability": "{face}"}


def _session(scene: Scene) -> dict[str, Any]:
    scene.call("session.register", session_id=f"s-{scene.word}")
    return {"session_id": "s-{face}"}


_KNOWLEDGE = {
    "changes.list": Example({"limit": 5}),
    "handoff.list": Example(_handoff),
    "handoff.read": Example(_handoff),
    "handoff.write": Example({"summary": "Half of {face} is done", "next_steps": ["the other half"]}),
    "principal.show": Example(),
    "session.discover": Example(_able),
    # What is to be told is told once.
    "session.heartbeat": Example(_session, loose=frozenset({"warnings", "messages"})),
    "session.register": Example({"session_id": "new-{face}", "capabilities": ["python"]}),
    "memory.forget": Example(lambda s: {"memory_id": _memory(s)}),
    "memory.list": Example(lambda s: {"tags": [_memory(s) and s.word]}),
    "memory.recall": Example(lambda s: {"query": "frozen clock", "tags": [_memory(s) and s.word]}),
    "memory.remember": Example({"summary": "What {face} saw", "outcome": "success", "tags": ["example"]}),
}


def _key(scene: Scene) -> dict[str, Any]:
    scene.call("key.create", name=f"spare-{scene.word}")
    return {"key": f"spare-{scene.word}"}


def _row(scene: Scene) -> dict[str, Any]:
    """One that this face alone has."""
    scene.call("lock.acquire", targets=[f"recorded/{scene.word}.py"])
    return {"operation": "lock.acquire", "target": "recorded/{face}.py"}


_COUNTED = frozenset({"checked", "last", "sealed", "checkpoints", "path"})
_AUDIT = {
    "audit.check": Example(lambda s: {"proof": json.dumps(s.call("audit.prove", seq=1))}),
    "audit.export": Example(_row, loose=frozenset({"at_us", "result"})),
    "audit.prove": Example({"seq": 1}, loose=_COUNTED),
    "audit.query": Example(_row, loose=frozenset({"tokens"})),
    "audit.verify": Example(loose=_COUNTED),
    "key.create": Example({"name": "ci-{face}", "scopes": "read,locks"}, loose=frozenset({"key"})),
    "key.list": Example(),
    "key.revoke": Example(_key),
}
EXAMPLES: dict[str, Example] = {**_AUDIT, **_AGENTS, **_HOST, **_LOCKS, **_TASKS, **_KNOWLEDGE}
