"""Mounts and `docker run` arguments of devcontainer.json."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from envmgr.config.importers import phrases, units
from envmgr.config.importers import ports as numbers
from envmgr.config.importers.asking import decimal, is_nothing, listed, number, word, words, wrong
from envmgr.config.importers.devcontainer.dev import Dev
from envmgr.config.importers.naming import slug
from envmgr.config.nodes import Leaf, Node, Table, text_leaf
from envmgr.config.problems import Mark
from envmgr.core.placeholders import Literal, escape

_HERE = "${workspace.path}"


def workspace(dev: Dev) -> None:
    """The worktree, where the file wants it."""
    node = dev.said.get("workspaceMount")
    if node is None or is_nothing(node):
        _put(dev, dev.said.mark, ".", dev.workspace)
        _git(dev, dev.said.mark)
        return
    leaf = word(node, "workspaceMount")
    if not leaf.text.strip():
        return
    _mount(dev, leaf, "workspaceMount")
    _git(dev, leaf.mark)


def compose_workspace(dev: Dev) -> None:
    """Compose files of dev containers usually mount the folder above; here the worktree itself takes its place."""
    volumes = dev.out.table().get("volumes")
    targets = [_target(node) for node in listed(volumes, "volumes")]
    if dev.workspace == "/" or any(_covers(target, dev.workspace) for target in targets):
        return
    mark = dev.said.keys.get("workspaceFolder", dev.said.mark)
    dev.request.report.changed(mark, "workspaceFolder", "the worktree is mounted there")
    _put(dev, mark, ".", dev.workspace)
    _git(dev, mark)


def _git(dev: Dev, mark: Mark) -> None:
    says = "git works on the host only: a worktree's repository lies outside of what is mounted"
    dev.request.report.changed(mark, "workspaceMount", says)


def _covers(target: str, folder: str) -> bool:
    return target == folder or folder.startswith(f"{target.rstrip('/')}/")


def _target(node: Node) -> str:
    if isinstance(node, Table):
        found = node.get("target")
        return found.text if isinstance(found, Leaf) else ""
    text = node.text if isinstance(node, Leaf) else ""
    return text.removesuffix(":ro").removesuffix(":rw").rpartition(":")[2]


def mounts(dev: Dev) -> None:
    """`mounts`: texts as for `docker run --mount`, or objects."""
    for node in listed(dev.said.get("mounts"), "mounts"):
        if isinstance(node, Table):
            pairs = {key: word(item, f"mounts.{key}").text for key, item in node.items.items()}
            _take(dev, pairs, node.mark, "mounts")
        else:
            _mount(dev, word(node, "mounts"), "mounts")


def _mount(dev: Dev, leaf: Leaf, key: str) -> None:
    pairs = dict(re.findall(r"(?:^|,)\s*([\w-]+)(?:=([^,]*))?", leaf.text))
    _take(dev, pairs, leaf.mark, key)


def _take(dev: Dev, pairs: Mapping[str, str], mark: Mark, key: str) -> None:
    """One mount. Names of volumes may hold variables; sources of binds are folders of the worktree or nothing."""

    def said(*names: str) -> str:
        found = next((pairs[name] for name in names if name in pairs), "")
        return phrases.text(dev.variables.parts(text_leaf(mark, found), key))

    target, source = said("target", "dst", "destination"), said("source", "src")
    if not target.startswith("/"):
        raise wrong(mark, f"{key} needs a target, an absolute path inside the container")
    is_read_only = any(name in pairs and pairs[name] in ("", "true", "1") for name in ("readonly", "ro"))
    kind = pairs.get("type", "volume")
    if kind == "tmpfs":
        dev.out.add("volumes", [{"type": "tmpfs", "target": target}], mark)
    elif kind == "volume":
        _put(dev, mark, _volume(source), target, is_read_only=is_read_only)
    elif (inside := _inside(dev, source)) is not None:
        _put(dev, mark, inside, target, is_read_only=is_read_only)
    else:
        says = f"{source} of this machine is not mounted at {target}; add it yourself if agents may share it"
        dev.request.report.unsupported(mark, key, says)


def _volume(source: str) -> str:
    """A volume is the agent's own anyway, so what made its name unique is left out."""
    return slug(re.sub(r"\$\{[^}]*\}", "", source), "volume") if source else ""


def _inside(dev: Dev, source: str) -> str | None:
    """A bind below the worktree as `./folder`."""
    if not source.startswith(_HERE):
        return None
    rest = source.removeprefix(_HERE).lstrip("/")
    found = dev.request.places.inside(dev.request.places.top, rest or ".")
    if found is None:
        return None
    return "." if found == "." else f"./{found}"


def _put(dev: Dev, mark: Mark, source: str, target: str, *, is_read_only: bool = False) -> None:
    tail = ":ro" if is_read_only else ""
    dev.out.add("volumes", [text_leaf(mark, f"{source}:{target}{tail}" if source else target)], mark)


def _list(key: str) -> Callable[[Dev, Leaf], None]:
    return lambda dev, leaf: dev.out.add(key, [text_leaf(leaf.mark, escape(leaf.text))], leaf.mark)


def _text(key: str) -> Callable[[Dev, Leaf], None]:
    return lambda dev, leaf: dev.out.put(key, escape(leaf.text), leaf.mark)


def _pair(key: str, sign: str = "=") -> Callable[[Dev, Leaf], None]:
    def take(dev: Dev, leaf: Leaf) -> None:
        name, _, value = leaf.text.partition(sign)
        text = phrases.text(dev.variables.parts(text_leaf(leaf.mark, value), "runArgs"))
        dev.out.below(key, leaf.mark).put(name, text, leaf.mark)

    return take


def _network(dev: Dev, leaf: Leaf) -> None:
    if leaf.text == "host":
        dev.request.report.dropped(
            leaf.mark, "runArgs", "--network=host: it gets the agent's network and leased ports"
        )
    else:
        dev.request.report.changed(
            leaf.mark, "runArgs", f"--network={leaf.text}: it is on the agent's own network"
        )


def _name(dev: Dev, leaf: Leaf) -> None:
    name = slug(
        phrases.text([p for p in dev.variables.parts(leaf, "runArgs") if isinstance(p, Literal)]), "dev"
    )
    dev.out.add("aliases", [name], leaf.mark)
    dev.request.report.changed(leaf.mark, "runArgs", f"--name: {name} is a name for other containers only")


def _volume_arg(dev: Dev, leaf: Leaf) -> None:
    parts = leaf.text.split(":")
    pairs = {"type": "bind" if parts[0][:1] in "./~$" else "volume", "source": parts[0], "target": parts[-1]}
    if len(parts) > 1 and not parts[-1].startswith(("/", "$")):
        pairs |= {"target": parts[-2]} | ({"readonly": "true"} if parts[-1] == "ro" else {})
    _take(dev, pairs, leaf.mark, "runArgs")


def _publish(dev: Dev, leaf: Leaf) -> None:
    ports = dev.out.below("ports", leaf.mark)
    for port in numbers.parse(leaf.text, leaf.mark, "runArgs"):
        draft = ports.below(numbers.name_for(port, set(ports.names())), leaf.mark)
        draft.put("container", port.inside, leaf.mark)
    dev.request.report.changed(leaf.mark, "runArgs", f"--publish {leaf.text} becomes a leased port")


def _memory(dev: Dev, leaf: Leaf) -> None:
    value = units.size(leaf.text, leaf.mark, "runArgs --memory")
    dev.out.below("limits", leaf.mark).put("memory", value, leaf.mark)


def _cpus(dev: Dev, leaf: Leaf) -> None:
    value = decimal(leaf.text, leaf.mark, "runArgs --cpus")
    dev.out.below("limits", leaf.mark).put("cpus", value, leaf.mark)


def _pids(dev: Dev, leaf: Leaf) -> None:
    value = number(leaf.text, leaf.mark, "runArgs --pids-limit")
    dev.out.below("limits", leaf.mark).put("pids", value, leaf.mark)


_ARGS: Mapping[str, Callable[[Dev, Leaf], None]] = {
    "--cap-add": _list("cap_add"),
    "--cap-drop": _list("cap_drop"),
    "--user": _text("user"),
    "-u": _text("user"),
    "--hostname": _text("hostname"),
    "-h": _text("hostname"),
    "--platform": _text("platform"),
    "--network-alias": _list("aliases"),
    "--env": _pair("env"),
    "-e": _pair("env"),
    "--label": _pair("labels"),
    "-l": _pair("labels"),
    "--sysctl": _pair("sysctls"),
    "--add-host": _pair("extra_hosts", ":"),
    "--tmpfs": _list("tmpfs"),
    "--network": _network,
    "--net": _network,
    "--name": _name,
    "--volume": _volume_arg,
    "-v": _volume_arg,
    "--mount": lambda dev, leaf: _mount(dev, leaf, "runArgs"),
    "--publish": _publish,
    "-p": _publish,
    "--memory": _memory,
    "-m": _memory,
    "--cpus": _cpus,
    "--pids-limit": _pids,
    "--shm-size": lambda dev, leaf: dev.out.put(
        "shm_size", units.size(leaf.text, leaf.mark, "runArgs --shm-size"), leaf.mark
    ),
}
_SWITCHES = {"--init": "init", "--read-only": "read_only"}
_NO_VALUE = (
    "--privileged",
    "--rm",
    "-d",
    "--detach",
    "-i",
    "-t",
    "-it",
    "--interactive",
    "--tty",
    "--no-healthcheck",
)


def run_args(dev: Dev) -> None:
    """`runArgs`: what is known is taken over, the rest reported."""
    args = list(words(dev.said.get("runArgs"), "runArgs"))
    while args:
        leaf = args.pop(0)
        name, equals, value = leaf.text.partition("=")
        if name in _SWITCHES:
            dev.out.put(_SWITCHES[name], value=True, mark=leaf.mark)
        elif name in _NO_VALUE:
            if name == "--privileged":
                dev.request.report.unsupported(
                    leaf.mark, "runArgs", "--privileged: it runs without the host's powers"
                )
        elif not equals and args and not args[0].text.startswith("-"):
            _arg(dev, name, args.pop(0))
        else:
            _arg(dev, name, text_leaf(leaf.mark, value))


def _arg(dev: Dev, name: str, leaf: Leaf) -> None:
    taker = _ARGS.get(name)
    if taker is None:
        shown = f"{name} {leaf.text}".strip()
        dev.request.report.unsupported(leaf.mark, "runArgs", f"{shown}: left out")
    else:
        taker(dev, leaf)
