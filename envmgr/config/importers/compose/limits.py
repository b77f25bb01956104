"""Limits, `deploy` and `develop.watch` of a compose service."""

from __future__ import annotations

import re

from envmgr.config.importers.asking import decimal, is_nothing, listed, number, table, words, wrong
from envmgr.config.importers.compose import mounts, running
from envmgr.config.importers.compose.here import Here
from envmgr.config.importers.drafting import Draft
from envmgr.config.importers.units import size
from envmgr.config.nodes import Node, Table, text_leaf
from envmgr.core.placeholders import escape

_ACTIONS = {
    "sync": "",
    "restart": "restart",
    "sync+restart": "restart",
    "rebuild": "recreate",
    "sync+exec": "exec",
}
_WATCH = ("action", "path", "target", "ignore", "include", "exec", "initial_sync")


def memory(here: Here, node: Node, key: str) -> None:
    """`mem_limit` and `deploy.resources.limits.memory`."""
    said = here.now(node, key)
    if said not in ("0", "-1"):
        here.out.below("limits").put("memory", size(said, node.mark, here.key(key)), node.mark)


def cpus(here: Here, node: Node, key: str) -> None:
    """`cpus` and `deploy.resources.limits.cpus`."""
    found = decimal(here.now(node, key), node.mark, here.key(key))
    if found > 0:
        here.out.below("limits").put("cpus", found, node.mark)


def pids(here: Here, node: Node, key: str) -> None:
    """`pids_limit` and `deploy.resources.limits.pids`."""
    said = here.now(node, key)
    if said not in ("0", "-1"):
        here.out.below("limits").put("pids", number(said, node.mark, here.key(key)), node.mark)


def deploy(here: Here, node: Node) -> None:
    """`deploy`: limits and instances; what is about a cluster is dropped."""
    said = table(node, here.key("deploy"))
    for key, value in said.items.items() if said else ():
        assert said is not None
        if is_nothing(value) or key.startswith("x-"):
            continue
        match key:
            case "replicas":
                running.replicas(here, value, "deploy.replicas")
            case "resources":
                _resources(here, value)
            case "restart_policy":
                _restart_policy(here, value)
            case _:
                here.dropped(said.keys[key], f"deploy.{key}", "is about a cluster")


def _resources(here: Here, node: Node) -> None:
    said = table(node, here.key("deploy.resources"))
    limits = table(said.get("limits"), here.key("deploy.resources.limits")) if said else None
    takers = {"memory": memory, "cpus": cpus, "pids": pids}
    for key, value in limits.items.items() if limits else ():
        assert limits is not None
        if key in takers:
            takers[key](here, value, f"deploy.resources.limits.{key}")
        else:
            here.unsupported(limits.keys[key], f"deploy.resources.limits.{key}", "has no meaning here")
    if said is not None and (reserved := table(said.get("reservations"), "reservations")) is not None:
        where = "deploy.resources.reservations"
        if "devices" in reserved.items:
            here.unsupported(
                reserved.keys["devices"], f"{where}.devices", "containers get no devices of the host"
            )
        here.dropped(
            said.keys["reservations"],
            where,
            "nothing is reserved; what must be free before a spawn is `limits` at the top",
        )


def _restart_policy(here: Here, node: Node) -> None:
    said = table(node, here.key("deploy.restart_policy"))
    if said is None or "restart" in here.said.items:
        return
    condition = said.get("condition")
    word = here.now(condition, "deploy.restart_policy.condition") if condition else "any"
    ours = {"none": "never", "on-failure": "on-failure", "any": "always"}.get(word)
    if ours is None:
        raise wrong(
            node.mark, f"{here.key('deploy.restart_policy.condition')} must be none, on-failure or any"
        )
    here.out.below("restart", node.mark).put("policy", ours, node.mark)
    for key in said.items:
        if key != "condition":
            here.dropped(said.keys[key], f"deploy.restart_policy.{key}", "delays and budgets are ours")


def develop(here: Here, node: Node) -> None:
    """`develop.watch`."""
    said = table(node, here.key("develop"))
    if said is None:
        return
    for entry in listed(said.get("watch"), here.key("develop.watch")):
        rule = table(entry, here.key("develop.watch"))
        if rule is not None:
            _watch(here, rule)
    for key in said.items:
        if key != "watch" and not key.startswith("x-"):
            here.unsupported(said.keys[key], f"develop.{key}", "has no meaning here")


def _watch(here: Here, rule: Table) -> None:
    for key in rule.items:
        if key not in _WATCH and not key.startswith("x-"):
            here.unsupported(rule.keys[key], f"develop.watch.{key}", "has no meaning here")
    action, path = rule.get("action"), rule.get("path")
    if action is None or path is None:
        raise wrong(rule.mark, f"{here.key('develop.watch')} needs 'action' and 'path'")
    word = here.now(action, "develop.watch.action")
    if word not in _ACTIONS:
        here.unsupported(action.mark, "develop.watch.action", f"{word!r} is left out")
        return
    said, inside = running.relative(here, path, "develop.watch.path")
    if inside is None:
        here.unsupported(path.mark, "develop.watch.path", f"{said} leads out of the worktree; left out")
        return
    ignored = [here.now(leaf, "develop.watch.ignore") for leaf in words(rule.get("ignore"), "ignore")]
    if word.startswith("sync"):
        _sync(here, rule, inside, ignored)
    if _ACTIONS[word]:
        _reaction(here, rule, _ACTIONS[word], inside, ignored)


def _sync(here: Here, rule: Table, inside: str, ignored: list[str]) -> None:
    """Files that compose would copy are mounted; what it would not copy stays the image's, in nameless volumes."""
    target = rule.get("target")
    where = here.now(target, "develop.watch.target") if target is not None else ""
    if not where.startswith("/"):
        raise wrong(rule.mark, f"{here.key('develop.watch')} needs 'target', an absolute path, for sync")
    where = where.rstrip("/") or "/"
    mark = rule.mark
    mounts.add(here, mark, f"./{inside}" if inside != "." else ".", where)
    for pattern in ignored:
        if re.fullmatch(r"\.?/?[\w.@-]+(/[\w.@-]+)*/?", pattern) and "." not in (pattern.strip("/"),):
            mounts.add(here, mark, "", f"{where}/{pattern.removeprefix('./').strip('/')}")
    here.changed(
        mark, "develop.watch", f"./{inside} is mounted at {where} instead of being copied: both ways, at once"
    )


def _reaction(here: Here, rule: Table, action: str, inside: str, ignored: list[str]) -> None:
    out = Draft(rule.mark)
    out.put("paths", [text_leaf(rule.mark, escape(inside))])
    out.put("action", action)
    included = [here.now(leaf, "develop.watch.include") for leaf in words(rule.get("include"), "include")]
    for key, globs in (("include", included), ("exclude", [_glob(pattern) for pattern in ignored])):
        kept = [
            escape(glob)
            for glob in globs
            if glob and ".." not in glob.split("/") and not glob.startswith(("/", "~"))
        ]
        if kept:
            out.put(key, kept)
    if action == "exec":
        command = table(rule.get("exec"), here.key("develop.watch.exec"))
        line = command.get("command") if command else None
        if line is None:
            raise wrong(rule.mark, f"{here.key('develop.watch')} needs 'exec' with a command")
        out.put("command", running.line(here, line, "develop.watch.exec.command"))
    here.out.add("watch", [out.table()], rule.mark)


def _glob(pattern: str) -> str:
    stripped = pattern.removeprefix("./").lstrip("/")
    return f"{stripped}**" if stripped.endswith("/") else stripped
