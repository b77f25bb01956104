"""One look at a unit that runs: its probe, what that needs, and whether it can be seen at all."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from envmgr.errors import EnvmgrError
from envmgr.model.observe import Unknown
from envmgr.model.probe import Readiness
from envmgr.model.service import ServiceSpec
from envmgr.protocols.keepers import Held
from envmgr.runtime import owning, probes, rendering, sharing
from envmgr.runtime.incarnation import Incarnation
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
    ready: Readiness,
    held: Held | None,
    secrets: Mapping[str, str],
    *,
    is_sure: bool,
) -> probes.Answer:
    """One attempt of its probe.

    Args:
        held: Its launch, as far as known.
        is_sure: Whose listener it is was settled before, and the keeper tells when it ends; asking costs 2 ms each time.
    """
    probe = rendering.ready_probe(inc, service, secrets)
    assert probe is not None, "only services with a probe are looked at"
    looked_at = subject(inc, service, held, secrets)
    if is_sure:
        looked_at = replace(looked_at, foreign=None)
    try:
        return await probes.look(probe, looked_at, timeout_s=ready.timeout_s)
    except EnvmgrError as error:
        return probes.Answer(is_ready=False, why=error.message)
