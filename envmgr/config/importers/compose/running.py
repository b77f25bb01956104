"""What a compose service runs, and with which variables."""

from __future__ import annotations

import re
from pathlib import Path

from envmgr.config.importers import phrases
from envmgr.config.importers.asking import is_nothing, kind, listed, table, word, words, wrong
from envmgr.config.importers.compose.here import Here
from envmgr.config.importers.units import duration, seconds, size
from envmgr.config.nodes import Leaf, Node, Table, text_leaf
from envmgr.core.placeholders import escape

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BUILD = ("context", "dockerfile", "target", "args")
_BUILD_HARMLESS = (
    "cache_from",
    "cache_to",
    "tags",
    "labels",
    "pull",
    "no_cache",
    "platforms",
    "provenance",
    "sbom",
)


def image(here: Here, node: Node) -> None:
    """`image`."""
    here.out.put("image", here.text(node, "image", is_late=False), here.said.keys["image"])


def build(here: Here, node: Node) -> None:
    """`build`: context, Dockerfile, target and arguments."""
    said = table(node, here.key("build"))
    if said is None:
        return
    out = here.out.below("build", here.said.keys["build"])
    context = said.get("context")
    where = here.now(context, "build.context") if context and not is_nothing(context) else "."
    mark = context.mark if context else node.mark
    inside = here.whole.project.places.inside(here.whole.project.folder(mark), where)
    if "://" in where or where.startswith("git@") or inside is None:
        what = (
            "a build context elsewhere" if inside is not None else "a build context outside of the worktree"
        )
        here.unsupported(mark, "build.context", f"{what} ({where}); the service is disabled")
        here.out.put("disabled", value=True, mark=mark)
        inside = "."
    out.put("context", inside, mark)
    for key in ("dockerfile", "target"):
        if (value := said.get(key)) is not None and not is_nothing(value):
            out.put(key, here.text(value, f"build.{key}", is_late=False), said.keys[key])
    for name, value in _pairs(here, said.get("args"), "build.args").items():
        out.below("args", said.keys["args"]).put(name, value, value.mark)
    for key in said.items:
        if key in _BUILD_HARMLESS:
            here.dropped(said.keys[key], f"build.{key}", "not needed to build for one agent")
        elif key not in _BUILD and not key.startswith("x-"):
            here.unsupported(said.keys[key], f"build.{key}", "the build does not get it")


def _pairs(here: Here, node: Node | None, key: str) -> dict[str, Leaf]:
    """A map of variables that must be complete before a spawn."""
    found: dict[str, Leaf] = {}
    said = table(node, here.key(key))
    for name, value in said.items.items() if said else ():
        if is_nothing(value) and key != "build.args":
            found[name] = text_leaf(value.mark, "")
        elif is_nothing(value) and not _VARIABLE.fullmatch(name):
            here.unsupported(value.mark, f"{key}.{name}", "has no value; left out")
        elif is_nothing(value):
            parts = here.whole.project.variables(value.mark).given(name, value.mark, here.key(key))
            found[name] = text_leaf(value.mark, phrases.text(parts))
        else:
            found[name] = here.text(value, f"{key}.{name}", is_late=False)
    return found


def command(here: Here, node: Node) -> None:
    """`command`: words, never a shell of ours; an empty one leaves the image's."""
    if found := line(here, node, "command"):
        here.out.put("command", found, here.said.keys["command"])
    elif not is_nothing(node):
        here.changed(node.mark, "command", "an empty command leaves the image's own")


def entrypoint(here: Here, node: Node) -> None:
    """`entrypoint`; an empty one removes the image's."""
    if not is_nothing(node):
        here.out.put("entrypoint", line(here, node, "entrypoint"), here.said.keys["entrypoint"])


def line(here: Here, node: Node, key: str) -> list[Leaf]:
    """A command as words."""
    if isinstance(node, Leaf):
        if node.value is None:
            return []
        found = phrases.split(here.parts(node, key), node.mark, here.key(key))
        return [text_leaf(node.mark, part) for part in found]
    return [here.text(item, key) for item in listed(node, here.key(key))]


def environment(here: Here, node: Node) -> None:
    """`environment`."""
    said = table(node, here.key("environment"))
    out = here.out.below("env", here.said.keys["environment"])
    for name, value in said.items.items() if said else ():
        mark = said.keys[name] if said else node.mark
        if not _ENV_NAME.fullmatch(name) or (is_nothing(value) and not _VARIABLE.fullmatch(name)):
            here.unsupported(mark, f"environment.{name}", "not a name that variables can have here; left out")
        elif is_nothing(value):
            parts = here.whole.project.variables(mark).given(name, mark, here.key("environment", name))
            out.put(name, text_leaf(mark, phrases.text(parts)), mark)
        else:
            out.put(name, here.text(value, f"environment.{name}"), mark)
    if not out:
        here.out.drop("env")


def env_file(here: Here, node: Node) -> None:
    """`env_file`: paths become relative to the repository; files that may be missing count only when they are there."""
    places = here.whole.project.places
    for entry in listed(node, here.key("env_file")):
        said, required = entry, True
        if isinstance(entry, Table):
            said = entry.get("path") or Leaf(entry.mark, None, "")
            if (flag := entry.get("required")) is not None:
                required = here.flag(flag, "env_file.required")
        shown = here.now(said, "env_file")
        path = places.inside(here.whole.project.folder(said.mark), shown)
        if path is None:
            here.unsupported(said.mark, "env_file", f"{shown} lies outside of the repository; left out")
            continue
        if not (places.top / path).is_file() and not required:
            here.changed(said.mark, "env_file", f"{shown} is not there now, so it is left out")
            continue
        here.out.add("env_file", [text_leaf(said.mark, escape(path))], here.said.keys["env_file"])
        found = places.variables(places.top / path)
        if any("$" in value for value in found.values()):
            here.changed(said.mark, "env_file", f"variables in the values of {shown} are not filled in")


def simple(here: Here, node: Node, key: str, ours: str) -> None:
    """A single text that means the same here."""
    if not is_nothing(node):
        here.out.put(ours, here.text(node, key, is_late=False), here.said.keys[key])


def switch(here: Here, node: Node, key: str, ours: str) -> None:
    """A yes or no that means the same here; a no is our default."""
    if not is_nothing(node) and here.flag(node, key):
        here.out.put(ours, value=True, mark=here.said.keys[key])


def stop_signal(here: Here, node: Node) -> None:
    """`stop_signal`."""
    here.out.below("stop").put("signal", here.text(node, "stop_signal", is_late=False), node.mark)


def stop_grace_period(here: Here, node: Node) -> None:
    """`stop_grace_period`."""
    value_s = seconds(here.now(node, "stop_grace_period"), node.mark, here.key("stop_grace_period"))
    here.out.below("stop").put("grace", duration(value_s), node.mark)


def shm_size(here: Here, node: Node) -> None:
    """`shm_size`."""
    here.out.put("shm_size", size(here.now(node, "shm_size"), node.mark, here.key("shm_size")), node.mark)


def pull_policy(here: Here, node: Node) -> None:
    """`pull_policy`."""
    said = here.now(node, "pull_policy")
    ours = {"always": "always", "never": "never", "missing": "", "if_not_present": "", "build": ""}.get(said)
    if ours:
        here.out.put("pull", ours, node.mark)
    elif ours is None:
        here.changed(node.mark, "pull_policy", f"{said!r} becomes 'missing': the image is fetched once")


def texts(here: Here, node: Node, key: str) -> None:
    """A list of texts under the same name here."""
    found = [here.text(leaf, key, is_late=False) for leaf in words(node, here.key(key))]
    here.out.add(key, found, here.said.keys[key])


def pairs(here: Here, node: Node, key: str) -> None:
    """A map of texts under the same name here."""
    for name, value in _pairs(here, node, key).items():
        here.out.below(key, here.said.keys[key]).put(name, value, value.mark)


def restart(here: Here, node: Node) -> None:
    """`restart`."""
    said = here.now(node, "restart")
    policy, _, times = said.partition(":")
    ours = {
        "no": "never",
        "false": "never",
        "always": "always",
        "unless-stopped": "always",
        "on-failure": "on-failure",
    }
    if policy not in ours or (times and not (policy == "on-failure" and times.isdigit())):
        raise wrong(
            node.mark, f"{here.key('restart')} must be no, always, on-failure or unless-stopped, not {said!r}"
        )
    here.out.below("restart", node.mark).put("policy", ours[policy], node.mark)
    if times and int(times):
        here.out.below("restart").put("budget", f"{min(int(times), 15)}/10m", node.mark)
        here.changed(node.mark, "restart", f"{times} restarts in 10 minutes, not {times} in all")


def profiles(here: Here, node: Node) -> None:
    """`profiles`."""
    found = [here.now(leaf, "profiles") for leaf in words(node, here.key("profiles"))]
    here.out.add("profiles", found, here.said.keys["profiles"])


def extra_hosts(here: Here, node: Node) -> None:
    """`extra_hosts`."""
    pairs(here, node, "extra_hosts")


def replicas(here: Here, node: Node, key: str) -> None:
    """`scale` and `deploy.replicas`."""
    said = here.now(node, key)
    if not said.isdigit():
        raise wrong(node.mark, f"{here.key(key)} must be a whole number, not {kind(node)}")
    count = int(said[:9])
    if count == 0:
        here.out.put("disabled", value=True, mark=node.mark)
    if count > 10:
        here.changed(node.mark, key, f"{count} instances become 10, the most there are here")
    if count > 1:
        here.out.put("replicas", min(count, 10), node.mark)


def relative(here: Here, node: Node, key: str) -> tuple[str, str | None]:
    """A path as said, and as the worktree's own (None: it leads out)."""
    said = here.now(word(node, here.key(key)), key)
    return said, here.whole.project.places.inside(here.whole.project.folder(node.mark) / Path(), said)
