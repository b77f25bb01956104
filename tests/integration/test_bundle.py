"""The context of an incident, gathered around a real service."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from envmgr.aio import blocking
from envmgr.core.classify import diagnose
from envmgr.errors import ConfigError, Unobservable
from envmgr.model.event import NewEvent
from envmgr.model.incident import Climb, ClimbOutcome, Incident, Part, Rung, Symptom
from envmgr.model.probe import Readiness, TcpProbe
from envmgr.model.service import Condition, Dependency, PortSpec, ServiceKind, ServiceSpec, ServiceState
from envmgr.model.spec import AgentSpec, SecretRef, SecretSource
from envmgr.protocols.processes import Processes
from envmgr.protocols.series import Sample, Series
from envmgr.runtime import bundle
from envmgr.runtime.actor import Actor
from envmgr.runtime.bundle import Bundles, write_whole
from envmgr.runtime.control import Control
from envmgr.runtime.health import Health
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.leasing import claim_ports
from envmgr.runtime.steps.services import stop_services
from envmgr.runtime.supervisor import Supervisor
from tests.support.incarnations import incarnation
from tests.support.requirements import proves
from tests.support.supervised import take_over
from tests.support.wait import async_eventually

pytestmark = pytest.mark.anyio

SECRET, TYPED = "correct-horse-battery", "typed-in-the-template"
API = ServiceSpec(
    name="api",
    kind=ServiceKind.PROCESS,
    command=f"echo the password is {SECRET}; exec python3 -m http.server --bind 127.0.0.1 $PORT --directory . #{SECRET}",
    env={"DB_PASSWORD": TYPED, "MODE": "dev"},
    ports=(PortSpec(name="http"),),
    ready=Readiness(probe=TcpProbe(port="http")),
    depends_on=(Dependency(service="db", condition=Condition.STARTED),),
)
DB = ServiceSpec(name="db", kind=ServiceKind.PROCESS, command="echo db is up; exec sleep 600")
OTHER = ServiceSpec(name="other", kind=ServiceKind.PROCESS, command="exec sleep 600")


class Kept(Series):
    """What a test measured."""

    def __init__(self, *samples: Sample) -> None:
        self._samples = samples

    async def read(
        self, agent: str, *, subject: str | None = None, metric: str = "", since_at: float = 0.0
    ) -> Sequence[Sample]:
        return [one for one in self._samples if one.agent == agent and one.at >= since_at]


class Silent:
    """Nobody can tell about processes."""

    async def members(self, marks: object) -> object:
        raise Unobservable("proc did not answer within 5 s")


def incident(inc: Incarnation, **more: Any) -> tuple[Incident, Symptom]:  # fields of Incident
    symptom = Symptom(
        part=Part.SERVICE, subject="api", words="api ended with status 1", at=inc.systems.now(), exit_code=1
    )
    found = Incident(
        agent=inc.id,
        name="otter",
        generation=1,
        part=Part.SERVICE,
        subject="api",
        words=symptom.words,
        diagnosis=diagnose(symptom),
        opened_at=symptom.at,
        **more,
    )
    return found, symptom


async def written(supervisor: Supervisor, actor: Actor, inc: Incarnation) -> tuple[Path, Any]:
    """The bundle of a new incident."""
    opened, symptom = incident(inc)
    number = await inc.systems.store.write(lambda tx: tx.add_incident(opened))
    async with anyio.create_task_group() as group:
        Bundles(supervisor, group).begin(actor, replace(opened, id=number), symptom)
    known = await inc.systems.store.read(lambda tx: tx.incident(number))
    assert known is not None
    path = inc.layout.incidents / known.bundle
    return path, json.loads(path.read_text(encoding="utf-8"))


async def prepared(inc: Incarnation) -> tuple[Supervisor, Actor]:
    """An agent that runs, with a history."""
    inc.spec = replace(inc.spec, secrets=(SecretRef(name="DB", source=SecretSource.ENV, key="DB"),))
    climbs = (Climb(rung=Rung.SERVICE, at=1.0, because="it ended", outcome=ClimbOutcome.HELD),)
    earlier, _ = incident(inc, climbs=climbs, closed_at=2.0)
    now = inc.systems.now()
    samples = (
        Sample(agent=inc.id, subject="api", metric="probe.ready", at=now - 30, value=1.0),
        Sample(agent=inc.id, subject="api", metric="probe.ready", at=now - 3000, value=0.0),
        Sample(agent="", metric="memory.available_bytes", at=now - 30, value=5.0),
    )
    inc.systems = replace(
        inc.systems, series=Kept(*samples), secrets=lambda spec, environment: {"DB": SECRET}
    )
    await inc.systems.store.write(lambda tx: tx.add_incident(earlier))
    supervisor, actor = await take_over(inc)
    actor.incarnation = inc
    return supervisor, actor


@proves("BUNDLE-001", "BUNDLE-002")
async def test_a_bundle_tells_all_that_was_known_and_no_secret(tmp_path: Path) -> None:
    async with incarnation(tmp_path, DB, API, OTHER) as inc, anyio.create_task_group() as group:
        supervisor, actor = await prepared(inc)
        await claim_ports(inc)
        await Control(supervisor, Health(supervisor, group), group).restart(actor, ["db", "api", "other"])
        for kind, data in (
            ("service.ready", {"service": "api"}),
            ("change.started", {"restart": ["api"], "token": "abcdef123"}),
        ):
            event = NewEvent(kind=kind, agent=inc.id, generation=1, data=data)
            await supervisor.record(event)
        port = inc.port("api", "http")
        await async_eventually(lambda: actor.services["api"].state is ServiceState.READY)

        path, found = await written(supervisor, actor, inc)

        await stop_services(inc)
        group.cancel_scope.cancel()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert found["incident"]["diagnosis"]["failure"] == "crash"
    assert found["exit"]["exit_code"] == 1
    assert found["logs"] == {"db": ["db is up"], "api": ["the password is ********"]}
    assert found["units"]["api"]["needs"] == {"db": "started"}
    assert found["units"]["other"]["state"] == "ready"
    assert [change["kind"] for change in found["configuration"]["changes_since_ready"]] == ["change.started"]
    assert set(found["configuration"]["units"]) == {"db", "api"}
    assert found["configuration"]["units"]["api"]["env"] == {"DB_PASSWORD": "********", "MODE": "dev"}
    assert [(one["port"], "http.server" in one["listener"]["command"]) for one in found["ports"]] == [
        (port, True)
    ]
    assert "http.server" in " ".join(one["command"] for one in found["processes"])
    assert found["series"]["api probe.ready"] == [
        [pytest.approx(found["series"]["api probe.ready"][0][0]), 1.0]
    ]
    assert "host memory.available_bytes" in found["series"]
    assert [one["rungs"][0]["outcome"] for one in found["before"]] == ["held"]
    assert "missing" in found["git"]  # the folder is no worktree here: said, and everything else is there
    text = path.read_text(encoding="utf-8")
    assert [secret for secret in (SECRET, TYPED, "abcdef123") if secret in text] == []


@proves("BUNDLE-002")
async def test_a_part_that_cannot_be_had_says_why(tmp_path: Path) -> None:
    async with incarnation(tmp_path, DB, API) as inc:
        supervisor, actor = await prepared(inc)
        inc.systems = replace(inc.systems, processes=cast("Processes", Silent()))
        _, found = await written(supervisor, actor, inc)
    assert found["processes"] == {"missing": "proc did not answer within 5 s"}
    assert found["exit"]["exit_code"] == 1
    assert found["logs"] == {"db": [], "api": []}


@proves("BUNDLE-001")
async def test_a_bundle_stays_below_a_megabyte_and_keeps_the_words_of_who_failed(tmp_path: Path) -> None:
    async with incarnation(tmp_path, DB, API) as inc:
        supervisor, actor = await prepared(inc)
        now = inc.systems.now()
        many = [Sample(agent=inc.id, metric=f"m{n % 100}", at=now, value=n) for n in range(100_000)]
        inc.systems = replace(inc.systems, series=Kept(*many))
        log = inc.home / "logs" / "api.log"
        log.parent.mkdir(parents=True)
        log.write_text("".join(f"{n} {'é' * 3000}\n" for n in range(400)), encoding="utf-8")
        path, found = await written(supervisor, actor, inc)
    assert path.stat().st_size <= 1_000_000
    assert found["series"] == {"missing": "left out: the bundle would be larger than 1 MB"}
    assert found["logs"]["api"][-1].startswith("399 ")


@proves("BUNDLE-001")
async def test_a_bundle_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "incidents" / "7.json"
    path.parent.mkdir()
    (path.parent / ".7.json.new").write_text("half", encoding="utf-8")  # of a daemon that was killed
    await blocking.act("file", write_whole, path, "{}")
    assert [(file.name, file.read_text()) for file in path.parent.iterdir()] == [("7.json", "{}")]
    assert bundle.MOST_BYTES == 1_000_000


@proves("MASK-003")
async def test_without_the_values_of_secrets_no_output_is_kept(tmp_path: Path) -> None:
    def unknown(spec: AgentSpec, environment: Mapping[str, str]) -> dict[str, str]:
        raise ConfigError("DB is not set", hint="Start it again.")

    async with incarnation(tmp_path, DB, API) as inc:
        supervisor, actor = await prepared(inc)
        inc.systems = replace(inc.systems, secrets=unknown)
        _, found = await written(supervisor, actor, inc)

    why = "values of secrets, which must not be kept, cannot be known: DB is not set"
    assert found["logs"] == {"missing": why}
    assert found["exit"]["exit_code"] == 1
