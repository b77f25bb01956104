"""One look at a unit that runs: its probe, what that needs, and whether it can be seen at all."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from envmgr.errors import EnvmgrError, PortTaken
from envmgr.model.observe import Unknown
from envmgr.model.probe import Liveness, Readiness
from envmgr.model.service import ServiceSpec
from envmgr.protocols.keepers import Held
from envmgr.runtime import owning, probes, rendering, sharing
from envmgr.runtime.answers import Answer
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.metering import Meter
from envmgr.runtime.subjects import subject

log = logging.getLogger(__name__)


async def is_out_of_sight(inc: Incarnation, service: ServiceSpec) -> bool:
    """Whether the engine cannot even tell about the container: then a probe that fails says nothing about the service."""
    if service.container is None:
        return False
    owner = sharing.runs_in(inc, service)
    return isinstance(await inc.systems.containers.inspect(owning.container(owner, service.name)), Unknown)


async def secrets_of(inc: Incarnation) -> Mapping[str, str]:
    """Blank ones when the person who had them is out of reach, as after a restart of the daemon: few probes need any."""
    try:
        return await inc.secrets()
    except EnvmgrError as error:
        log.warning("secrets not known", extra={"agent": inc.id, "why": error.message})
        return {ref.name: "" for ref in inc.spec.secrets}


async def look(
    inc: Incarnation,
    service: ServiceSpec,
    probe: Readiness | Liveness,
    held: Held | None,
    secrets: Mapping[str, str],
    *,
    meter: Meter,
) -> Answer:
    """One attempt of a probe; `held` is the launch, as far as known."""
    rendered = rendering.probe_of(inc, service, probe.probe, secrets)
    looked_at = subject(inc, service, held, secrets, meter=meter, checks_owner=probe.owner)
    try:
        answer = await probes.look(rendered, looked_at, timeout_s=probe.timeout_s)
    except PortTaken as taken:
        return Answer(is_ready=False, why=taken.message, foreign=str(taken.details["owner"]))
    except EnvmgrError as error:
        answer = Answer(is_ready=False, why=error.message)
    if not answer.is_ready and not all(secrets.values()) and rendering.wants_secrets(probe.probe, secrets):
        why = f"its secrets are not known since the daemon was started anew ({answer.why})"
        return Answer(is_ready=False, why=why, is_unknown=True)
    return answer
