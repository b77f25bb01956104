"""A place for each agent in a shared service: `tenant.create` before its services start, `tenant.drop` when it is removed.

A place is recorded before it is made, as `tenant/<shared id>/<agent>`. The drop is owed before it is tried: if the service does not
run at the removal, or cannot be asked, it runs when the service is next up, before anybody's place is made, so that it never hits a later agent of the same name.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

from envmgr.core import sharing as rules
from envmgr.errors import EnvmgrError
from envmgr.model.ids import AgentId
from envmgr.model.service import ServiceSpec, Tenant
from envmgr.protocols.keepers import Held
from envmgr.protocols.store import Transaction
from envmgr.runtime import rendering, runners, sharing
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.outcomes import ServiceFailed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """What is recorded. `drop` is set when it is owed."""

    agent: str
    name: str
    since: float
    drop: str | tuple[str, ...] = ""
    timeout_s: float = 60.0


async def admit(inc: Incarnation, service: ServiceSpec, held: Held, secrets: Mapping[str, str]) -> None:
    """Make the agent's place; the service is ready.

    Raises:
        ServiceFailed: `tenant.create` failed.
    """
    tenant = service.tenant
    if tenant is None:
        return
    common = sharing.common(inc, service)
    async with inc.systems.turns.of(common.id):
        await _settle_debts(common, service, held, secrets)
        mine = _Place(agent=inc.id, name=inc.name, since=inc.systems.now())
        await inc.systems.store.write(lambda tx: _note(tx, common.id, mine))
        why = await _run(common, held, tenant.create, secrets, place=mine, timeout_s=tenant.timeout_s)
    if why:
        raise ServiceFailed(
            f"{service.name} made no place for {inc.name}: {why}",
            hint="Mend `tenant.create` in the template.",
        )


async def since(inc: Incarnation, service: ServiceSpec) -> str:
    """When the agent's place was made; empty when it has none. A place that was dropped and made again is another one."""
    common = rules.shared_id(str(inc.repo.common_dir), service.name)
    place = await inc.systems.store.read(lambda tx: _read(tx, common, inc.id))
    return str(place.since) if place else ""


async def doomed(inc: Incarnation) -> Sequence[str]:
    """Shared services in which the agent has a place that its removal drops, for good."""

    def look(tx: Transaction) -> list[str]:
        services = [s for s in sharing.shared_services(inc) if s.tenant is not None and s.tenant.drop]
        return [s.name for s in services if _read(tx, sharing.common(inc, s).id, inc.id) is not None]

    return await inc.systems.store.read(look)


async def quit_all(inc: Incarnation) -> Sequence[str]:
    """The agent is removed: drop its places. Returns what people should know; nothing here holds up the removal."""
    words = []
    for service in sharing.shared_services(inc):
        try:
            words.append(await _quit(inc, service))
        except EnvmgrError as error:
            words.append(f"its place in {service.name} is not dropped yet: {error.message}")
    return [word for word in words if word]


async def _quit(inc: Incarnation, service: ServiceSpec) -> str:
    common, tenant = sharing.common(inc, service), service.tenant or Tenant()
    async with inc.systems.turns.of(common.id):
        place = await inc.systems.store.read(lambda tx: _read(tx, common.id, inc.id))
        if place is None:
            return ""
        why = ""
        if tenant.drop:
            owed = replace(place, drop=tenant.drop, timeout_s=tenant.timeout_s)
            await inc.systems.store.write(
                lambda tx: tx.put(_key(common.id, inc.id), json.dumps(asdict(owed)))
            )
            held = await _running(common, service)
            if held is None:
                return f"its place in {service.name} is dropped when that runs again"
            common.ports.update(await inc.systems.store.read(lambda tx: sharing.held(tx, common.id)))
            secrets = await inc.secrets()
            why = await _ask(common, held, tenant.drop, secrets, place=place, timeout_s=tenant.timeout_s)
        await inc.systems.store.write(lambda tx: tx.drop(_key(common.id, inc.id)))
    return f"its place in {service.name} was not dropped: {why}" if why else ""


async def _running(common: Incarnation, service: ServiceSpec) -> Held | None:
    share = await common.systems.store.read(lambda tx: sharing.read(tx, common.id))
    if share is None or not share.holders:
        return None
    runner = (await runners.hire(common)).of(common.service(service.name))
    held = (await runner.status()).get(service.name)
    return held if held is not None and held.is_alive else None


async def _settle_debts(
    common: Incarnation, service: ServiceSpec, held: Held, secrets: Mapping[str, str]
) -> None:
    """Once each: a drop that fails is told and forgotten, as its name may soon be another agent's."""
    places = (await common.systems.store.read(lambda tx: tx.under(f"tenant/{common.id}/"))).values()
    for place in [place for said in places if (place := _place(said)).drop]:
        why = await _run(common, held, place.drop, secrets, place=place, timeout_s=place.timeout_s)
        if why:
            log.warning(
                "tenant not dropped", extra={"agent": place.agent, "service": service.name, "why": why}
            )
        await common.systems.store.write(partial(_forget, key=_key(common.id, place.agent)))


async def _run(
    common: Incarnation,
    held: Held,
    command: str | tuple[str, ...],
    secrets: Mapping[str, str],
    *,
    place: _Place,
    timeout_s: float,
) -> str:
    """As `_ask`, where a service that cannot be asked has failed, too."""
    try:
        return await _ask(common, held, command, secrets, place=place, timeout_s=timeout_s)
    except EnvmgrError as error:
        return error.message


async def _ask(
    common: Incarnation,
    held: Held,
    command: str | tuple[str, ...],
    secrets: Mapping[str, str],
    *,
    place: _Place,
    timeout_s: float,
) -> str:
    """Where the service runs; why the command failed, empty when it did not (or there is none)."""
    if not command:
        return ""
    service = common.services[0]
    viewer = service if service.container else None
    known = rendering.values(common, secrets, service.name, viewer=viewer) | {"agent.id": place.agent}
    argv = rendering.command(command, service.shell, known)
    env = {"ENVMGR_TENANT": place.name}
    if held.container:
        env |= rendering.named(secrets, command)
        run: Awaitable[tuple[int, str]] = common.systems.containers.execute(
            held.container, argv, deadline_s=timeout_s, env=env
        )
    else:
        env |= rendering.service_env(common, service, secrets)
        run = common.systems.execute(argv, common.path / service.cwd, env, timeout_s)
    code, output = await run
    last = output.strip().splitlines()[-1:] or ["it wrote nothing"]
    return f"status {code}: {last[0]}" if code else ""


def _forget(tx: Transaction, key: str) -> None:
    tx.drop(key)


def _note(tx: Transaction, shared: AgentId, place: _Place) -> None:
    """It keeps the moment of its first making."""
    if _read(tx, shared, place.agent) is None:
        tx.put(_key(shared, place.agent), json.dumps(asdict(place)))


def _read(tx: Transaction, shared: AgentId, agent: str) -> _Place | None:
    said = tx.get(_key(shared, agent))
    return None if said is None else _place(said)


def _place(said: str) -> _Place:
    fields = json.loads(said)
    drop = fields["drop"]
    return _Place(**{**fields, "drop": tuple(drop) if isinstance(drop, list) else drop})


def _key(shared: AgentId, agent: str) -> str:
    return f"tenant/{shared}/{agent}"
