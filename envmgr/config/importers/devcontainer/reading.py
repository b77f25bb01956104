"""devcontainer.json: the development container becomes a service that waits, and its commands run inside of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from envmgr.config.importers import phrases
from envmgr.config.importers.asking import is_nothing, kind, table, unknown, word, words, wrong
from envmgr.config.importers.compose.converting import convert
from envmgr.config.importers.compose.loading import Project
from envmgr.config.importers.devcontainer import commands, mounts, ports
from envmgr.config.importers.devcontainer.dev import Dev
from envmgr.config.importers.devcontainer.jsonc import read_jsonc
from envmgr.config.importers.devcontainer.variables import DevVariables
from envmgr.config.importers.drafting import Draft
from envmgr.config.importers.request import Request
from envmgr.config.nodes import Leaf, Node, Table, text_leaf
from envmgr.config.problems import Mark, did_you_mean

_WAIT = "trap 'exit 0' TERM INT; while sleep 1000 & wait $!; do :; done"
_DONE = (
    *("name", "image", "build", "dockerFile", "context", "dockerComposeFile", "service", "runServices"),
    *(
        "forwardPorts",
        "portsAttributes",
        "appPort",
        "containerEnv",
        "remoteEnv",
        "workspaceFolder",
        "workspaceMount",
    ),
    *("mounts", "runArgs", "remoteUser", "containerUser", "overrideCommand", "init", "capAdd"),
    *commands.KEYS,
)
_DROPPED = {
    "customizations": "is for editors",
    "extensions": "is for editors",
    "settings": "is for editors",
    "shutdownAction": "the container ends with the agent",
    "updateRemoteUserUID": "the user inside keeps its number; files it makes in the worktree may belong to another user",
    "userEnvProbe": "variables come from the image and from `containerEnv`",
    "waitFor": "the agent starts when all commands are done",
    "otherPortsAttributes": "only named ports are reached",
    "hostRequirements": "what must be free before a spawn is `limits` at the top",
    "overrideFeatureInstallOrder": "features are not installed",
    "secrets": "declare them under `secrets`, which says where their values come from",
    "$schema": "",
}
_UNSUPPORTED = {
    "features": "not installed: put what they bring into the image or a Dockerfile",
    "privileged": "the container runs without the host's powers",
    "securityOpt": "the engine's default holds",
}


def read(request: Request) -> str:
    """Fill the template; returns the name of the container."""
    path = request.files[0]
    tree = read_jsonc(request.places.text(path), request.places.show(path))
    if not isinstance(tree, Table):
        raise wrong(tree.mark, f"a devcontainer.json is an object, not {kind(tree)}")
    said = tree
    title = _plain(said, "name")
    with_compose = not is_nothing(said.get("dockerComposeFile"))
    variables = DevVariables(request, said)
    workspace = _workspace(said, variables, with_compose=with_compose)
    variables.workspace = workspace
    name = _plain(said, "service") if with_compose else "dev"
    dev = Dev(
        request=request,
        said=said,
        folder=path.parent,
        variables=variables,
        slug=name,
        out=Draft(said.mark),
        workspace=workspace,
    )
    _from_compose(dev) if with_compose else _alone(dev)
    _environment(dev)
    _users(dev)
    ports.take(dev)
    mounts.run_args(dev)
    commands.take(dev)
    _rest(dev)
    mark = Mark(request.places.show(path), 1, 1)
    request.report.changed(
        mark, "service", f"the assistant works on the host; commands for the container run in {dev.slug}"
    )
    return title


def _plain(said: Table, key: str) -> str:
    node = said.get(key)
    return "" if node is None or is_nothing(node) else word(node, key).text


def _workspace(said: Table, variables: DevVariables, *, with_compose: bool) -> str:
    """Where the worktree is inside, as text of a template."""
    node = said.get("workspaceFolder")
    if node is not None and not is_nothing(node):
        leaf = word(node, "workspaceFolder")
        found = phrases.text(variables.parts(leaf, "workspaceFolder"))
        if not found.startswith("/"):
            raise wrong(leaf.mark, f"workspaceFolder must be an absolute path, not {found!r}")
        return found
    return "/" if with_compose else "/workspaces/${repo.name}"


def _alone(dev: Dev) -> None:
    """A container of its own, from an image or a Dockerfile."""
    out = dev.request.out.below("services").below(dev.slug, dev.said.mark)
    dev.out = out
    image = dev.said.get("image")
    if image is not None and not is_nothing(image):
        out.put("image", dev.text(image, "image"), dev.said.keys["image"])
    elif not _build(dev):
        raise wrong(dev.said.mark, "there is neither 'image', nor 'build', nor 'dockerComposeFile'")
    mounts.workspace(dev)
    mounts.mounts(dev)
    out.put("workdir", dev.workspace, dev.said.mark)
    _waiting(dev, is_usual=True)


def _build(dev: Dev) -> bool:
    build = table(dev.said.get("build"), "build")
    node = build.get("dockerfile") if build else dev.said.get("dockerFile")
    if node is None or is_nothing(node):
        return False
    context = (build.get("context") if build else dev.said.get("context")) or text_leaf(node.mark, ".")
    where = word(context, "build.context").text
    inside = dev.request.places.inside(dev.folder, where)
    file = dev.request.places.inside(dev.folder, word(node, "build.dockerfile").text)
    if inside is None or file is None:
        raise wrong(node.mark, "build: the Dockerfile and its context must lie in the repository")
    out = dev.out.below("build", node.mark)
    out.put("context", inside, context.mark)
    if inside != "." and not (Path(file)).is_relative_to(inside):
        raise wrong(node.mark, f"build: {file} lies outside of its context {inside}")
    out.put("dockerfile", str(Path(file).relative_to(inside)), node.mark)
    for key, value in build.items.items() if build else ():
        assert build is not None
        if key == "target":
            out.put("target", dev.text(value, "build.target"), value.mark)
        elif key == "args":
            for name, item in (table(value, "build.args") or build).items.items():
                out.below("args", value.mark).put(name, dev.text(item, f"build.args.{name}"), item.mark)
        elif key not in ("dockerfile", "context"):
            dev.request.report.dropped(build.keys[key], f"build.{key}", "not needed to build for one agent")
    return True


def _waiting(dev: Dev, *, is_usual: bool) -> None:
    """The container does nothing but wait, unless its own command is wanted."""
    node = dev.said.get("overrideCommand")
    wanted = is_usual if node is None or is_nothing(node) else word(node, "overrideCommand").value is True
    if wanted:
        mark = node.mark if node else dev.said.mark
        dev.out.put("entrypoint", ["/bin/sh", "-c"], mark)
        dev.out.put("command", [_WAIT.replace("$", "$$")], mark)
    init = dev.said.get("init")
    if init is not None and word(init, "init").value is True:
        dev.out.put("init", value=True, mark=init.mark)
    for leaf in words(dev.said.get("capAdd"), "capAdd"):
        dev.out.add("cap_add", [leaf], leaf.mark)


def _from_compose(dev: Dev) -> None:
    """One service of a compose project, with the others beside it."""
    request, said = dev.request, dev.said
    files = []
    for leaf in words(said.get("dockerComposeFile"), "dockerComposeFile"):
        if request.places.inside(dev.folder, leaf.text) is None:
            raise wrong(leaf.mark, f"dockerComposeFile: {leaf.text} lies outside of the repository")
        files.append(
            request.places.must_exist((dev.folder / leaf.text).resolve(), leaf.mark, "dockerComposeFile")
        )
    service = said.get("service")
    if service is None or is_nothing(service):
        raise wrong(said.keys["dockerComposeFile"], "with dockerComposeFile it must say which 'service'")
    project = Project(request.places, request.report, request.declared)
    tree = project.load(files)
    services = table(tree.get("services"), "services")
    name = word(service, "service").text
    if services is None or name not in services.items:
        hint = did_you_mean(name, services.items if services else ())
        raise wrong(service.mark, f"service: there is no {name!r} in the compose files", hint)
    others = [leaf.text for leaf in words(said.get("runServices"), "runServices")]
    only = [name, *others] if others or request.services else []
    whole = convert(project, tree, request.out, profiles=request.profiles, only=only)
    dev.slug = whole.services[name]
    dev.out = request.out.below("services").below(dev.slug)
    mounts.compose_workspace(dev)
    mounts.mounts(dev)
    if dev.workspace != "/":
        dev.out.put("workdir", dev.workspace, said.mark)
    _waiting(dev, is_usual=False)


def _environment(dev: Dev) -> None:
    for key in ("containerEnv", "remoteEnv"):
        said = table(dev.said.get(key), key)
        for name, node in said.items.items() if said else ():
            assert said is not None
            mark = said.keys[name]
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                dev.request.report.unsupported(
                    mark, f"{key}.{name}", "not a name that variables can have here"
                )
            elif is_nothing(node):
                dev.request.report.dropped(mark, f"{key}.{name}", "variables cannot be taken away")
            elif isinstance(node, Leaf) and "${containerEnv:" in node.text:
                says = "the container's own variables are not known here; set it in the image"
                dev.request.report.unsupported(mark, f"{key}.{name}", says)
            else:
                dev.out.below("env", said.mark).put(name, dev.text(node, f"{key}.{name}"), mark)
        if said is not None and key == "remoteEnv" and said.items:
            says = "variables are for everything in the container"
            dev.request.report.changed(dev.said.keys[key], key, says)


def _users(dev: Dev) -> None:
    main, remote = dev.said.get("containerUser"), dev.said.get("remoteUser")
    node = remote if not is_nothing(remote) else main
    if node is None or is_nothing(node):
        return
    key = "remoteUser" if node is remote else "containerUser"
    dev.out.put("user", dev.text(node, key), node.mark)
    if key == "remoteUser":
        says = "everything in the container runs as this user, its first process too"
        dev.request.report.changed(dev.said.keys[key], key, says)


def _rest(dev: Dev) -> None:
    for key, node in dev.said.items.items():
        mark = dev.said.keys[key]
        if key in _DONE or is_nothing(node) or (isinstance(node, Leaf) and node.value is False):
            continue
        if key in _DROPPED:
            if _DROPPED[key]:
                dev.request.report.dropped(mark, key, _DROPPED[key])
        elif key in _UNSUPPORTED:
            for name in _each(node) or [""]:
                dev.request.report.unsupported(mark, ".".join(filter(None, (key, name))), _UNSUPPORTED[key])
        else:
            dev.request.report.unsupported(mark, key, unknown(key, (*_DONE, *_DROPPED, *_UNSUPPORTED)))


def _each(node: Node) -> list[str]:
    return list(_names(node))


def _names(node: Node) -> Iterator[str]:
    if isinstance(node, Table):
        yield from node.items
