"""Health checks of a compose service as readiness, and what it waits for."""

from __future__ import annotations

from envmgr.config.importers import images, phrases
from envmgr.config.importers.asking import is_nothing, kind, number, table, word, words, wrong
from envmgr.config.importers.compose import network
from envmgr.config.importers.compose.here import Here
from envmgr.config.importers.drafting import Draft
from envmgr.config.importers.ports import Published, name_for
from envmgr.config.importers.units import duration, seconds
from envmgr.config.nodes import Items, Leaf, Node, Table, text_leaf
from envmgr.config.problems import Mark

_TIMES = ("interval", "timeout", "start_period", "start_interval")
_KNOWN = ("test", "disable", "retries", *_TIMES)
_USUAL_S = {"interval": 30.0, "timeout": 30.0, "start_period": 0.0}
_OUR_DEADLINE_S = 120.0
_CONDITIONS = {
    "service_started": "started",
    "service_healthy": "ready",
    "service_completed_successfully": "succeeded",
}


def healthcheck(here: Here, node: Node) -> None:
    """`healthcheck`: its command, run inside of the container."""
    said = table(node, here.key("healthcheck"))
    if said is None or here.is_task:
        return
    for key in said.items:
        if key not in _KNOWN and not key.startswith("x-"):
            here.unsupported(said.keys[key], f"healthcheck.{key}", "has no meaning here")
    disable = said.get("disable")
    test = said.get("test")
    if disable is not None and here.flag(disable, "healthcheck.disable"):
        return
    command = _command(here, test) if test is not None and not is_nothing(test) else None
    if command == "":
        return
    mark = said.keys["test"] if command is not None and test is not None else node.mark
    ready = here.out.below("ready", here.said.keys["healthcheck"])
    if command is None:
        ready.put("health", value=True, mark=mark)
    else:
        ready.put("exec", command, mark)
        ready.put("inside", value=True, mark=mark)
    _timing(here, said)


def _command(here: Here, test: Node) -> str | list[Leaf] | list[str]:
    """The check as a command; empty for `NONE`."""
    if isinstance(test, Leaf):
        return phrases.shell(here.parts(test, "healthcheck.test"))
    if not isinstance(test, Items) or not test.items:
        raise wrong(test.mark, f"{here.key('healthcheck.test')} must be a text or a list, not {kind(test)}")
    first, *rest = (word(item, here.key("healthcheck.test")) for item in test.items)
    match first.text:
        case "NONE":
            return ""
        case "CMD" if rest:
            return [here.text(item, "healthcheck.test") for item in rest]
        case "CMD-SHELL" if len(rest) == 1:
            return phrases.shell(here.parts(rest[0], "healthcheck.test"))
    raise wrong(
        first.mark,
        f"{here.key('healthcheck.test')} begins with CMD, CMD-SHELL or NONE, and a command follows",
    )


def _timing(here: Here, said: Table) -> None:
    ready = here.out.below("ready")
    found = dict(_USUAL_S)
    for key in _TIMES:
        value = said.get(key)
        if value is not None and not is_nothing(value):
            found[key] = seconds(
                here.now(value, f"healthcheck.{key}"), value.mark, here.key("healthcheck", key)
            )
    if "interval" in said.items and found["interval"] >= 0.05:
        ready.put("period", duration(found["interval"]), said.keys["interval"])
    if "exec" in ready and found["timeout"] >= 0.01:
        ready.put("timeout", duration(found["timeout"]), said.keys.get("timeout", said.mark))
    retries = said.get("retries")
    down = 3
    if retries is not None and not is_nothing(retries):
        down = number(here.now(retries, "healthcheck.retries"), retries.mark, here.key("healthcheck.retries"))
        ready.put("down", max(1, down), said.keys["retries"])
    whole_s = found["start_period"] + max(1, down) * found["interval"] + found["timeout"]
    if whole_s > _OUR_DEADLINE_S:
        ready.put("deadline", duration(whole_s), said.mark)


def usual_readiness(here: Here) -> None:
    """Without a health check: a well-known program is ready when it accepts connections, others as their image says."""
    if "ready" in here.out or here.is_task:
        return
    found = well_known(here)
    if found is not None and found.port in here.ports:
        ready = here.out.below("ready")
        ready.put("tcp", here.ports[found.port])
        here.changed(
            here.said.mark,
            "healthcheck",
            f"without one it is ready when port {found.port} accepts connections",
        )
    elif here.name in here.whole.healthy:
        here.out.below("ready").put("health", value=True)


def well_known(here: Here) -> images.Known | None:
    """The program that its image stands for."""
    image = here.said.get("image")
    if not isinstance(image, Leaf) or image.value is None or "build" in here.said.items:
        return None
    return images.known(here.now(image, "image"))


def usual_port(here: Here) -> None:
    """Databases and the like get a port of the agent's even if the file publishes none: programs on the host need it."""
    found = well_known(here)
    if found is None or here.is_task or found.port in here.ports:
        return
    taken = set(here.ports.values())
    name = name_for(Published(inside=found.port, wanted=found.name), taken)
    mark = here.said.keys["image"]
    network.publish(here, Published(inside=found.port), name, mark)
    here.changed(
        mark, "ports", f"{found.port} gets a leased port, so that the agent reaches it: ${{ports.{name}}}"
    )


def depends_on(here: Here) -> None:
    """`depends_on` and what `links` imply."""
    said = table(here.said.get("depends_on"), here.key("depends_on"))
    edges: dict[str, tuple[Node, Mark]] = {}
    for name, node in said.items.items() if said else ():
        assert said is not None
        edges[name] = (node, said.keys[name])
    for name, mark in network.linked(here):
        edges.setdefault(name, (Leaf(mark, None, ""), mark))
    for name, (node, mark) in edges.items():
        _edge(here, name, node, mark)


def _edge(here: Here, name: str, node: Node, mark: Mark) -> None:
    ours = here.whole.services.get(name)
    long = table(node, here.key("depends_on", name))
    required = long.get("required") if long else None
    is_required = required is None or here.flag(required, "depends_on.required")
    if ours is None:
        if is_required:
            raise wrong(mark, f"{here.key('depends_on')}: there is no service {name!r}")
        return
    out = here.out.below("depends_on", mark).below(ours, mark)
    condition = long.get("condition") if long else None
    said = (
        here.now(condition, "depends_on.condition")
        if condition and not is_nothing(condition)
        else "service_started"
    )
    if said not in _CONDITIONS:
        raise wrong(mark, f"{here.key('depends_on')}: {said!r} is not a condition of compose")
    out.put("condition", _met(here, name, _CONDITIONS[said], mark), mark)
    if not is_required:
        out.put("required", value=False, mark=mark)
    elif _is_only_in_a_profile(here, name):
        out.put("required", value=False, mark=mark)
        here.changed(
            mark, "depends_on", f"{name} is only in a profile; without that profile it is not waited for"
        )
    restart = long.get("restart") if long else None
    if restart is not None and not is_nothing(restart) and here.flag(restart, "depends_on.restart"):
        out.put("restart", value=True, mark=mark)


def _met(here: Here, name: str, condition: str, mark: Mark) -> str:
    """Tasks are done rather than started or ready."""
    if name in here.whole.tasks and condition == "ready":
        here.changed(mark, "depends_on", f"{name} is a task: it is waited for until it succeeded")
        return "succeeded"
    return condition


def _is_only_in_a_profile(here: Here, name: str) -> bool:
    services = table(here.whole.tree.get("services"), "services")
    other = services.get(name) if services else None
    theirs = other.get("profiles") if isinstance(other, Table) else None
    names = {leaf.text for leaf in words(theirs, "profiles")}
    own = {leaf.text for leaf in words(here.said.get("profiles"), "profiles")}
    if not names or names & here.whole.chosen:
        return False
    return not own or bool(own & here.whole.chosen) or not own <= names


def _password_in_command(here: Here) -> dict[str, str]:
    """Redis is given its password as an argument."""
    command = here.out.get("command")
    said = [item.text for item in command if isinstance(item, Leaf)] if isinstance(command, list) else []
    if "--requirepass" in said[:-1]:
        return {"REDIS_PASSWORD": said[said.index("--requirepass") + 1]}
    return {}


def exports(here: Here, *, is_only: bool) -> None:
    """Addresses for programs on the host, and for the agent."""
    found = well_known(here)
    prefix = here.slug.upper().replace("-", "_")
    out = here.out.below("exports")
    if found is not None and found.port in here.ports:
        env = here.out.get("env")
        node = env.table().items if isinstance(env, Draft) else {}
        values = {name: leaf.text for name, leaf in node.items() if isinstance(leaf, Leaf)}
        values |= _password_in_command(here)
        address = found.address(values).replace("{at}", f"${{host}}:${{ports.{here.ports[found.port]}}}")
        out.put(found.variable if is_only else f"{prefix}_URL", text_leaf(here.said.mark, address))
    elif name := next((name for name in here.ports.values() if name in ("http", "https")), ""):
        out.put(f"{prefix}_URL", text_leaf(here.said.mark, f"{name}://${{host}}:${{ports.{name}}}"))
    if not out:
        here.out.drop("exports")
