"""From a merged compose project to a template, service by service and key by key."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from envmgr.config.importers.asking import is_nothing, table, unknown, word, words, wrong
from envmgr.config.importers.compose import health, limits, mounts, network, running
from envmgr.config.importers.compose.here import Here, Whole
from envmgr.config.importers.compose.keys import DROPPED, UNSUPPORTED
from envmgr.config.importers.compose.loading import Project
from envmgr.config.importers.drafting import Draft
from envmgr.config.importers.naming import Names
from envmgr.config.nodes import Leaf, Node, Table
from envmgr.config.problems import BadFile, Problem, did_you_mean

_MOST_SERVICES = 500
_BLOCK = 20
Taker = Callable[[Here, Node], None]


def _simple(key: str, ours: str) -> Taker:
    return lambda here, node: running.simple(here, node, key, ours)


def _switch(key: str) -> Taker:
    return lambda here, node: running.switch(here, node, key, key)


_TAKERS: Mapping[str, Taker] = {
    "image": running.image,
    "build": running.build,
    "command": running.command,
    "entrypoint": running.entrypoint,
    "env_file": running.env_file,
    "environment": running.environment,
    "ports": network.ports,
    "expose": network.expose,
    "networks": network.networks,
    "network_mode": network.network_mode,
    "container_name": network.container_name,
    "hostname": network.hostname,
    "links": network.links,
    "volumes": mounts.volumes,
    "tmpfs": mounts.tmpfs,
    "configs": lambda here, node: mounts.files(here, node, "configs"),
    "secrets": lambda here, node: mounts.files(here, node, "secrets"),
    "user": _simple("user", "user"),
    "working_dir": _simple("working_dir", "workdir"),
    "platform": _simple("platform", "platform"),
    "init": _switch("init"),
    "tty": _switch("tty"),
    "stdin_open": lambda here, node: running.switch(here, node, "stdin_open", "stdin"),
    "read_only": _switch("read_only"),
    "shm_size": running.shm_size,
    "stop_signal": running.stop_signal,
    "stop_grace_period": running.stop_grace_period,
    "pull_policy": running.pull_policy,
    "cap_add": lambda here, node: running.texts(here, node, "cap_add"),
    "cap_drop": lambda here, node: running.texts(here, node, "cap_drop"),
    "sysctls": lambda here, node: running.pairs(here, node, "sysctls"),
    "labels": lambda here, node: running.pairs(here, node, "labels"),
    "extra_hosts": running.extra_hosts,
    "healthcheck": health.healthcheck,
    "restart": running.restart,
    "scale": lambda here, node: running.replicas(here, node, "scale"),
    "mem_limit": lambda here, node: limits.memory(here, node, "mem_limit"),
    "cpus": lambda here, node: limits.cpus(here, node, "cpus"),
    "pids_limit": lambda here, node: limits.pids(here, node, "pids_limit"),
    "deploy": limits.deploy,
    "develop": limits.develop,
    "profiles": running.profiles,
}
_LATER = ("depends_on",)
_SECTIONS = ("services", "volumes", "networks", "configs", "secrets", "include", "name", "version")


def convert(
    project: Project, tree: Table, out: Draft, *, profiles: Collection[str], only: Collection[str]
) -> Whole:
    """Write every service of the project into `out`.

    Args:
        project: Answers for folders and variables.
        tree: All its files, merged.
        out: The template.
        profiles: Profiles whose services are part of the template for good.
        only: Services to take, with everything they depend on; empty for all.

    Raises:
        ConfigError: With every value that cannot be understood, by file and line.
    """
    services = table(tree.get("services"), "services") or Table(tree.mark, {}, {})
    if not services.items:
        raise wrong(tree.mark, "there are no 'services' in it")
    _refuse_crowd(services)
    chosen = _closure(project, services, only)
    whole = Whole(
        project=project,
        tree=tree,
        out=out,
        services=Names(list(services.items)),
        volumes=Names(list((table(tree.get("volumes"), "volumes") or services).items), "volume"),
        networks=Names(
            ["default", *(table(tree.get("networks"), "networks") or Table(tree.mark, {}, {})).items]
        ),
        chosen=frozenset(profiles),
    )
    whole.tasks, whole.healthy = _waited_for(services)
    _top(whole)
    problems: list[Problem] = []
    done: list[Here] = []
    for name, node in services.items.items():
        if name in chosen:
            try:
                done.append(_service(whole, name, node))
            except BadFile as error:
                problems += error.problems
    if problems:
        raise BadFile(problems)
    _finish(whole, done)
    return whole


def _refuse_crowd(services: Table) -> None:
    if len(services.items) > _MOST_SERVICES:
        message = f"{len(services.items):,} services; at most {_MOST_SERVICES} can be imported at once"
        raise wrong(services.mark, message, "Name the ones you need with --service in a smaller file.")


def _closure(project: Project, services: Table, only: Collection[str]) -> set[str]:
    """The services that were asked for and everything they depend on."""
    for name in only:
        if name not in services.items:
            raise wrong(services.mark, f"there is no service {name!r}", did_you_mean(name, services.items))
    found: set[str] = set()
    waiting = list(only or services.items)
    while waiting:
        name = waiting.pop()
        if name in found or name not in services.items:
            continue
        found.add(name)
        service = services.items[name]
        if isinstance(service, Table):
            edges = service.get("depends_on")
            waiting += list(edges.items) if isinstance(edges, Table) else []
            links = service.get("links")
            waiting += [leaf.text.partition(":")[0] for leaf in words(links, "links")]
    return found


def _waited_for(services: Table) -> tuple[frozenset[str], frozenset[str]]:
    """Services whose success, and services whose health others wait for."""
    by_condition: dict[str, set[str]] = {}
    for service in services.items.values():
        edges = service.get("depends_on") if isinstance(service, Table) else None
        for name, edge in edges.items.items() if isinstance(edges, Table) else ():
            condition = edge.get("condition") if isinstance(edge, Table) else None
            if isinstance(condition, Leaf):
                by_condition.setdefault(condition.text, set()).add(name)
    tasks = by_condition.get("service_completed_successfully", set())
    return frozenset(tasks), frozenset(by_condition.get("service_healthy", set()) - tasks)


def _top(whole: Whole) -> None:
    """Keys of the file that are no services."""
    report = whole.project.report
    for key in whole.tree.items:
        if key not in _SECTIONS and not key.startswith("x-"):
            report.unsupported(whole.tree.keys[key], key, unknown(key, _SECTIONS))
    for section, kept in (("volumes", ("name",)), ("networks", ("name", "driver", "ipam", "attachable"))):
        for name, said, key in _settings(whole.tree, section):
            mark = said.keys[key]
            if key == "external" and not _is_no(said.items[key]):
                what = (
                    "each agent has an empty one of its own"
                    if section == "volumes"
                    else "each agent has its own"
                )
                report.unsupported(mark, f"{section}.{name}.external", what)
            elif key == "internal" and not _is_no(said.items[key]):
                report.unsupported(mark, f"{section}.{name}.internal", "it can be reached from outside")
            elif key in kept:
                report.changed(
                    mark, f"{section}.{name}.{key}", "each agent has its own, under a name of envmgr's"
                )
            elif key not in ("external", "internal", "labels", "enable_ipv6", "enable_ipv4"):
                report.dropped(mark, f"{section}.{name}.{key}", "the engine's default holds")


def _is_no(node: Node) -> bool:
    return isinstance(node, Leaf) and node.value in (False, None, "false")


def _settings(tree: Table, section: str) -> Iterator[tuple[str, Table, str]]:
    found = table(tree.get(section), section)
    for name, node in found.items.items() if found else ():
        said = table(node, f"{section}.{name}")
        for key in said.items if said else ():
            assert said is not None
            if not key.startswith("x-"):
                yield name, said, key


def _service(whole: Whole, name: str, node: Node) -> Here:
    said = table(node, f"services.{name}")
    mark = whole.tree.mark
    services = whole.tree.get("services")
    if isinstance(services, Table):
        mark = services.keys[name]
    slug = whole.services[name]
    out = whole.out.below("services").below(slug, mark)
    whole.project.report.about(f"services.{name}", slug)
    if said is None:
        said = Table(mark, {}, {})
    here = Here(name=name, slug=slug, said=Table(mark, said.items, said.keys), out=out, whole=whole)
    if not ("image" in said.items or "build" in said.items) and "provider" not in said.items:
        raise wrong(mark, f"services.{name} has neither 'image' nor 'build'")
    if here.is_task:
        out.put("kind", "task", mark)
        here.changed(
            mark, "kind", "others wait for its success, so it is a task; it may take 10 minutes (`timeout`)"
        )
    for key, taker in _TAKERS.items():
        if key in said.items:
            taker(here, said.items[key])
    _rest(here)
    health.depends_on(here)
    _settle(here)
    return here


def _rest(here: Here) -> None:
    """Keys that nothing here corresponds to."""
    for key, node in here.said.items.items():
        mark = here.said.keys[key]
        if key in _TAKERS or key in _LATER or key.startswith("x-") or is_nothing(node) or _is_no(node):
            continue
        if key in DROPPED:
            here.dropped(mark, key, DROPPED[key])
        elif key in UNSUPPORTED:
            here.unsupported(mark, key, UNSUPPORTED[key])
        else:
            here.unsupported(mark, key, unknown(key, (*_TAKERS, *DROPPED, *UNSUPPORTED, *_LATER)))


def _settle(here: Here) -> None:
    """What depends on several keys together."""
    network.original_name(here)
    health.usual_port(here)
    health.usual_readiness(here)
    out = here.out
    if here.is_task:
        for key in ("restart", "replicas", "watch"):
            if key in out:
                here.changed(here.said.mark, key, "a task runs once, to its end")
                out.drop(key)
    elif "restart" not in out:  # what compose means by saying nothing; ours would be started again
        out.below("restart", here.said.mark).put("policy", "never", here.said.mark)
    mine = [word(leaf, "profiles").text for leaf in words(here.said.get("profiles"), "profiles")]
    if here.whole.chosen.intersection(mine):
        out.drop("profiles")
    elif mine:
        names = Names(mine, "profile")
        out.put("profiles", [names[name] for name in mine], here.said.keys["profiles"])
    if out.get("pull") is None and "build" in here.said.items and "image" in here.said.items:
        here.changed(
            here.said.keys["image"], "image", "each agent builds an image of its own; this is its tag"
        )
        out.drop("image")


def _finish(whole: Whole, done: list[Here]) -> None:
    """Names from links, addresses for the host, and room for all ports."""
    for here in done:
        for name, mark in whole.links.get(here.name, ()):
            network.alias(here, name, mark)
    network.report_host_ports(done)
    found = [(here, known.variable) for here in done if (known := health.well_known(here))]
    for here in done:
        variable = next((v for other, v in found if other is here), None)
        health.exports(here, is_only=[v for _, v in found].count(variable or "") == 1)
    count = sum(len(ports.names()) for here in done if isinstance(ports := here.out.get("ports"), Draft))
    count += sum(_more_for_instances(here) for here in done)
    if count > _BLOCK:
        whole.out.below("ports").put("block", min(1000, count + 10))


def _more_for_instances(here: Here) -> int:
    count, ports = here.out.get("replicas"), here.out.get("ports")
    return count * len(ports.names()) if isinstance(count, int) and isinstance(ports, Draft) else 0
