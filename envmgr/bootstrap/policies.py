"""What the settings say, in the words of the rooms that go by it."""

from __future__ import annotations

import os

from envmgr.config.settings import Settings
from envmgr.core.reaping import SHARED_DAEMONS
from envmgr.core.reaping import Policy as Spare
from envmgr.model.door import DoorPolicy
from envmgr.model.recovery import RecoveryLimits
from envmgr.model.spec import PortsPolicy
from envmgr.runtime.archiving.keeping import Keep
from envmgr.runtime.maintenance.task import Limits
from envmgr.runtime.prevention.prevention import PreventionPolicy
from envmgr.runtime.reaping.reaper import Schedule
from envmgr.runtime.room import HostLimits
from envmgr.runtime.supervisor import Policy


def host(settings: Settings) -> Policy:
    """Who is let in."""
    limits = HostLimits(
        max_agents=settings.host.max_agents,
        min_free_memory_bytes=settings.host.min_free_memory_bytes,
        min_free_disk_bytes=settings.host.min_free_disk_bytes,
    )
    return Policy(limits=limits, ports=ports(settings), validate=os.environ.get("ENVMGR_VALIDATE") == "1")


def ports(settings: Settings) -> PortsPolicy:
    """Where numbers come from when a template says nothing else."""
    said = settings.ports
    return PortsPolicy(first=said.first, last=said.last, block=said.block)


def prevention(settings: Settings) -> PreventionPolicy:
    """How often is measured."""
    return PreventionPolicy(
        period_s=settings.prevention.period_s,
        guard_period_s=settings.limits.guard_period_s,
        ports=ports(settings),
        keep_memory_bytes=settings.host.min_free_memory_bytes,
        keep_disk_bytes=settings.host.min_free_disk_bytes,
    )


def recovery(settings: Settings) -> RecoveryLimits:
    """How far the ladder may go on this host."""
    return RecoveryLimits(
        is_on=settings.recovery.enabled,
        per_hour=settings.recovery.per_hour,
        look_s=settings.recovery.look_s,
        cool_down_s=settings.recovery.cool_down_s,
        close_after_s=settings.recovery.close_after_s,
        patience_s=settings.recovery.patience_s,
        canary_s=settings.recovery.canary_s,
        safe_mode_s=settings.recovery.safe_mode_s,
    )


def maintenance(settings: Settings) -> Limits:
    """What is kept, and how long."""
    return Limits(
        events_days=settings.maintenance.events_days,
        events_keep=settings.maintenance.events_keep,
        incidents_days=settings.maintenance.incidents_days,
        copies_days=settings.maintenance.copies_days,
        logs_days=settings.maintenance.logs_days,
        log_bytes=settings.maintenance.log_bytes,
        logs_keep=settings.maintenance.logs_keep,
        temp_days=settings.maintenance.temp_days,
        ports_days=settings.maintenance.ports_days,
        free_percent=settings.maintenance.free_percent,
    )


def reaping(settings: Settings) -> Schedule:
    """When is looked for what nobody owns, and what is spared."""
    policy = Spare(
        young_s=settings.reaper.young_s,
        grace_s=settings.reaper.grace_s,
        at_most=settings.reaper.at_most,
        shared_daemons=(*SHARED_DAEMONS, *settings.reaper.shared_daemons),
    )
    return Schedule(
        policy=policy,
        is_on=settings.reaper.enabled,
        first_s=settings.reaper.first_s,
        period_s=settings.reaper.period_s,
        again_s=settings.reaper.again_s,
        call_s=settings.reaper.call_s,
        disk_percent=settings.reaper.disk_percent,
        inodes_percent=settings.reaper.inodes_percent,
        free_bytes=settings.reaper.free_bytes,
    )


def archive(settings: Settings) -> Keep:
    """How long sessions are kept."""
    return Keep(
        age_s=settings.archive.keep_days * 86_400.0,
        max_bytes=settings.archive.max_bytes,
        every_s=settings.archive.period_s,
    )


def door(settings: Settings) -> DoorPolicy:
    """Who may come in over HTTP."""
    return DoorPolicy(
        listen=settings.http.listen,
        is_remote=settings.http.allow_remote,
        names=frozenset(name.lower() for name in settings.http.names),
        origins=frozenset(settings.http.origins),
        body_bytes=settings.http.max_body_bytes,
        at_once=settings.http.at_once,
        per_s=settings.http.per_s,
    )
