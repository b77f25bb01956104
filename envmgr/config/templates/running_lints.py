"""What is said about a running service must go with what it is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from envmgr.config.problems import Path, Problem
from envmgr.config.templates.places import Places
from envmgr.config.templates.probe_schema import Check
from envmgr.config.templates.running_building import restart_policy
from envmgr.config.templates.running_schema import Reaction, Restart
from envmgr.config.templates.schema import Document
from envmgr.config.templates.service_schema import Service
from envmgr.core.restart import delay
from envmgr.model.service import RestartPolicy

_OF_WHAT_RUNS = (
    "replicas", "scope", "tenant", "restart", "watch", "on_env_change", "fatal_exit_codes", "startup", "live"
)  # fmt: skip


def lint_running(document: Document, places: Places) -> Iterator[Problem]:
    """About replicas, restarts and reactions."""
    for name, service in document.services.items():
        at: Path = ("services", name)
        if service.kind in ("task", "external"):
            article = "a task" if service.kind == "task" else "external"
            for key in _OF_WHAT_RUNS:
                if places.is_written((*at, key)):
                    yield places.key((*at, key), f"services.{name} is {article}: it has no {key!r}")
        if service.kind != "task" and service.run_when is not None:
            yield places.key((*at, "run_when"), f"services.{name} is no task: it has no 'run_when'")
        if service.scope == "shared":
            yield from _shared(name, service, places)
        if service.restart is not None:
            yield from _budgets(name, service.restart, places)
        if service.scope == "agent" and service.tenant is not None:
            yield places.key((*at, "tenant"), f"services.{name}: 'tenant' goes with `scope: shared`")
        if not service.in_container:
            yield from _recreations(name, service, places)


def _shared(name: str, service: Service, places: Places) -> Iterator[Problem]:
    at: Path = ("services", name)
    if service.replicas is not None:
        yield places.key((*at, "replicas"), f"services.{name} is shared: it has one instance for all")
    if service.depends_on:
        message = f"services.{name} is shared: it cannot wait for what is an agent's own"
        yield places.key((*at, "depends_on"), message, "Let its dependants wait for both.")


def _budgets(name: str, restart: Restart, places: Places) -> Iterator[Problem]:
    """A budget that its own back-off never lets be used up promises an end that does not come."""
    policy = restart_policy(restart)
    if policy.initial_s > policy.max_s:
        path = ("services", name, "restart", "initial")
        yield places.value(path, f"services.{name}.restart: 'initial' is more than 'max'")
    for key, rate in (("budget", policy.budget), ("flap", policy.flap)):
        at_once = _at_once_s(policy, rate.count)
        least_s = _least_s(policy, at_once)
        if at_once[-1] < rate.window_s:
            continue
        is_dead = least_s >= rate.window_s
        message = f"services.{name}.restart.{key}: {rate.count} restarts take at least {least_s:.0f} s with these delays"
        if not is_dead:
            message = f"services.{name}.restart.{key}: {rate.count} restarts of a service that dies at once take {at_once[-1]:.0f} s"
        fitting = sum(time_s < rate.window_s for time_s in at_once[1:])
        hint = f"{fitting} fit into {rate.window_s:.0f} s; allow that many, or shorten 'max'."
        yield places.value(("services", name, "restart", key), message, hint, is_warning=not is_dead)


def _at_once_s(policy: RestartPolicy, count: int) -> list[float]:
    """By number of restarts: the time from the first end of a service that always dies at once until so many lie behind."""
    return [0.0, *accumulate(delay(policy, attempt, draw=0.0) for attempt in range(count))]


def _least_s(policy: RestartPolicy, at_once: list[float]) -> float:
    """The least time for as many restarts, if now and then it stays well for long enough that delays begin anew."""
    least = [0.0]
    for done in range(1, len(at_once)):
        anew = (least[done - run] + policy.reset_after_s + at_once[run] for run in range(1, done))
        least.append(min([at_once[done], *anew]))
    return least[-1]


def _recreations(name: str, service: Service, places: Places) -> Iterator[Problem]:
    reactions: list[tuple[Path, Reaction]] = [(("on_env_change",), service.on_env_change)]
    reactions += [(places.item(("services", name, "watch"), i)[2:], w) for i, w in enumerate(service.watch)]
    for below, reaction in reactions:
        if reaction.action == "recreate":
            path = ("services", name, *below)
            yield places.value(
                path, f"services.{name}.{below[0]}: only a container can be made anew", "Use restart."
            )


def looks_at_log(check: Check | None) -> bool:
    """Whether a line of the log is needed for readiness."""
    if check is None:
        return False
    return check.log is not None or any(map(looks_at_log, check.all)) or any(map(looks_at_log, check.any))
