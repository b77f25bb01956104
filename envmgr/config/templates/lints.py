"""What a well-formed template can still have wrong: names that do not meet, cycles, ports, probes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from envmgr.config.nodes import Leaf, Table, find, leaves, mark_of, value_mark
from envmgr.config.problems import Path, Problem, did_you_mean, dotted
from envmgr.config.templates import params
from envmgr.config.templates.container_lints import lint_containers
from envmgr.config.templates.interpolation import looks_secret
from envmgr.config.templates.places import Places
from envmgr.config.templates.running_lints import lint_running, looks_at_log
from envmgr.config.templates.schema import Document
from envmgr.config.templates.selecting import lint_selection
from envmgr.config.templates.service_schema import Check, Edge, Service
from envmgr.config.templates.styles import Style, style
from envmgr.core import graph

_STOP_S = 60.0


class Linter:
    """Looks at one checked document; `tree` gives the places."""

    def __init__(
        self, document: Document, tree: Table, *, block: int, chosen: Collection[str] | None = None
    ) -> None:
        """`chosen` are the profiles of a spawn; None while nobody has chosen."""
        self._document, self._tree, self._block, self._chosen = document, tree, block, chosen
        self._places = Places(tree)

    def run(self) -> list[Problem]:
        """All findings."""
        found = [
            *params.lint(self._document.params, self._tree),
            *self._agent(),
            *self._secrets(),
            *self._all_ports(),
        ]
        for name, service in self._document.services.items():
            found += [*self._service(name, service), *self._ports(name, service)]
            found += self._edges(("services", name), service.depends_on)
            if service.ready:
                found += self._check(name, service, service.ready, ("services", name, "ready"))
        return [
            *found,
            *self._edges(("agent",), self._document.agent.depends_on),
            *self._cycle(),
            *self._graces(),
            *lint_containers(self._document, self._places),
            *lint_running(self._document, self._places),
            *lint_selection(self._document, self._places, self._chosen),
        ]

    def _at(
        self, path: Path, message: str, hint: str = "", *, is_warning: bool = False, key: bool = False
    ) -> Problem:
        mark = mark_of(self._tree, path) if key else value_mark(self._tree, path)
        return Problem(mark=mark, path=dotted(path), message=message, hint=hint, is_warning=is_warning)

    def _service(self, name: str, service: Service) -> Iterator[Problem]:
        at: Path = ("services", name)
        if service.kind == "external":
            if service.command is not None:
                yield self._at(
                    (*at, "command"), f"services.{name} is external, so it has no command", key=True
                )
        elif service.command is None and not service.in_container and service.kind != "container":
            yield self._at(
                at,
                f"services.{name} needs 'command'",
                "Or 'image' for a container, or `kind: external` for something envmgr does not start.",
                key=True,
            )
        if service.kind == "task" and service.ready:
            yield self._at(
                (*at, "ready"),
                f"services.{name} is a task: it is done, not ready",
                "Remove 'ready'.",
                key=True,
            )
        if service.kind != "task" and find(self._tree, (*at, "timeout")):
            hint = "For the time until it is ready use `ready: {deadline: ...}`."
            yield self._at((*at, "timeout"), f"services.{name}: 'timeout' is for tasks", hint, key=True)

    def _ports(self, name: str, service: Service) -> Iterator[Problem]:
        for key, port in service.ports.items():
            at: Path = ("services", name, "ports", key)
            what = dotted(at)
            if service.kind == "external":
                if port.number is None:
                    yield self._at(
                        at, f"{what} needs 'number'", "Say where the external service listens.", key=True
                    )
                if port.prefer is not None or port.fixed:
                    yield self._at(at, f"{what}: an external port has only 'number' and 'env'", key=True)
            elif port.number is not None:
                yield self._at(
                    (*at, "number"), f"{what}: 'number' is for external services", "Use 'prefer'.", key=True
                )
            elif port.fixed and port.prefer is None:
                yield self._at((*at, "fixed"), f"{what}: a fixed port needs 'prefer'", key=True)

    def _all_ports(self) -> Iterator[Problem]:
        own = [
            (n, k, p)
            for n, s in self._document.services.items()
            if s.kind != "external"
            for k, p in s.ports.items()
        ]
        fixed: dict[int, str] = {}
        for name, key, port in own:
            if not port.fixed or port.prefer is None:
                continue
            path: Path = ("services", name, "ports", key, "prefer")
            if port.prefer in fixed:
                yield self._at(path, f"fixed port {port.prefer} is already taken by {fixed[port.prefer]}")
            else:
                yield self._at(
                    path, f"fixed port {port.prefer}: only one agent can run at a time", is_warning=True
                )
            fixed[port.prefer] = f"services.{name}.ports.{key}"
        block = self._document.ports.block or self._block
        if len(own) > block:
            at: Path = ("ports", "block") if self._document.ports.block else ("services",)
            message = f"{len(own)} ports are declared, but an agent gets a block of {block}"
            yield self._at(at, message, f"Set `ports: {{block: {len(own)}}}` or more.")

    def _check(self, name: str, service: Service, check: Check, at: Path) -> Iterator[Problem]:
        for kind in ("any", "all"):
            for index, inner in enumerate(getattr(check, kind)):
                yield from self._check(name, service, inner, (*at, kind, index))
        kind = "http" if check.http else "tcp"
        probe = check.http or check.tcp
        if probe is None:
            return
        path: Path = (*at, kind, "port") if isinstance(find(self._tree, (*at, kind)), Table) else (*at, kind)
        if probe.port is None and len(service.ports) != 1:
            message = (
                f"{dotted(at)}.{kind} needs 'port': services.{name} has {len(service.ports) or 'no'} ports"
            )
            yield self._at(path, message)
        elif (
            probe.port is not None and probe.port not in service.ports and not _is_outer(probe.port, service)
        ):
            message = f"{dotted(at)}.{kind}: services.{name} has no port {probe.port!r}"
            yield self._at(
                path, message, did_you_mean(probe.port, service.ports) or "Declare it under 'ports'."
            )

    def _edges(self, at: Path, edges: Mapping[str, Edge]) -> Iterator[Problem]:
        for name, edge in edges.items():
            path = self._edge_path((*at, "depends_on"), name)
            target = self._document.services.get(name)
            if target is None:
                hint = did_you_mean(name, self._document.services, among="Services")
                yield self._at(path, f"{dotted(at)} depends on unknown service {name!r}", hint, key=True)
            elif complaint := _condition_complaint(name, target, edge):
                yield self._at(path, f"{dotted(at)} {complaint[0]}", complaint[1], key=True)

    def _edge_path(self, at: Path, name: str) -> Path:
        """In a list of names the one that says it."""
        items = find(self._tree, at)
        for path, leaf in leaves(items) if items and not isinstance(items, Table) else ():
            if leaf.value == name:
                return (*at, *path)
        return (*at, name)

    def _cycle(self) -> Iterator[Problem]:
        cycle = graph.find_cycle(
            {name: list(service.depends_on) for name, service in self._document.services.items()}
        )
        if cycle:
            path = self._edge_path(("services", cycle[0], "depends_on"), cycle[1])
            yield self._at(
                path, f"services wait for each other: {' -> '.join(cycle)}", "Remove one of these.", key=True
            )

    def _agent(self) -> Iterator[Problem]:
        agent = self._document.agent
        if agent.prompt is not None and agent.prompt_file is not None:
            yield self._at(
                ("agent", "prompt_file"), "agent has both 'prompt' and 'prompt_file'", "Keep one.", key=True
            )

    def _secrets(self) -> Iterator[Problem]:
        own = {"env": "name", "file": "path", "command": "command"}
        for name, secret in self._document.secrets.items():
            at: Path = ("secrets", name)
            wanted = own[secret.source]
            if secret.source != "env" and getattr(secret, wanted) is None:
                yield self._at(at, f"secrets.{name} needs {wanted!r}", key=True)
            for key in own.values():
                if key != wanted and getattr(secret, key) is not None:
                    yield self._at(
                        (*at, key),
                        f"secrets.{name}: {key!r} does not go with `from: {secret.source}`",
                        key=True,
                    )

    def _graces(self) -> Iterator[Problem]:
        """Stopping goes along the dependencies, so the longest path of graces has to fit."""
        services = {
            name: s for name, s in self._document.services.items() if s.kind in ("process", "container")
        }
        edges = {name: list(service.depends_on) for name, service in services.items()}
        if graph.find_cycle(edges):
            return
        users = graph.dependants(edges)
        total: dict[str, float] = {}
        for name in graph.stop_order(edges):
            before = max(
                (total[user] for user in users[name] if user in total),
                default=self._document.agent.stop.grace,
            )
            total[name] = before + services[name].stop.grace
        if total and max(total.values()) > _STOP_S:
            message = f"stopping may take {max(total.values()):.0f} s, more than the {_STOP_S:.0f} s allowed for a stop"
            yield self._at(("services",), message, "Shorten 'stop: {grace: ...}'.", is_warning=True, key=True)


def _is_outer(port: str, service: Service) -> bool:
    return service.kind == "external" and port.isdecimal() and 1 <= int(port) <= 65535


def _condition_complaint(name: str, target: Service, edge: Edge) -> tuple[str, str] | None:
    match edge.condition:
        case "log" if not looks_at_log(target.ready):
            return (
                f"waits for a line in the log of {name}, but its 'ready' looks at none",
                f"Give {name} `ready: {{log: ...}}`.",
            )
        case "ready" if target.kind == "task":
            return f"waits for task {name} to be ready", "Use `condition: succeeded`."
        case "ready" if target.ready is None:
            return (
                f"waits for {name} to be ready, but {name} has no 'ready'",
                "Give it a probe, or use `started`.",
            )
        case "completed" | "succeeded" if target.kind != "task":
            return (
                f"waits for {name} to end, but {name} is no task",
                "Give it `kind: task`, or wait for `ready`.",
            )
    return None


def lint_source(tree: Table) -> Iterable[Problem]:
    """Warnings about the text as written, before anything is filled in."""
    for path, leaf in leaves(tree):
        how = style(path)
        if how is Style.TEXT and path[-2:-1] in (("env",), ("exports",)):
            yield from _lint_variable(path, leaf)
        elif how is Style.SHELL or (how is Style.TEXT and ("command" in path or "args" in path)):
            yield from _lint_command(path, leaf)


def _lint_command(path: Path, leaf: Leaf) -> Iterator[Problem]:
    if "${secrets." in leaf.text:
        message = f"{dotted(path)}: a command line can be seen by every user of the machine"
        hint = "Secrets are variables already: let the command read $NAME."
        yield Problem(mark=leaf.mark, path=dotted(path), message=message, hint=hint, is_warning=True)


def _lint_variable(path: Path, leaf: Leaf) -> Iterator[Problem]:
    name = str(path[-1])
    bare = next(
        (
            word
            for word in leaf.text.replace("$$", "").split("$")[1:]
            if word[:1].isalpha() or word[:1] == "_"
        ),
        "",
    )
    if bare:
        message = f"{dotted(path)}: '${bare[:20]}' is not expanded here"
        hint = "Write ${NAME} for a variable of your environment, $$ for a dollar sign."
        yield Problem(mark=leaf.mark, path=dotted(path), message=message, hint=hint, is_warning=True)
    if looks_secret(name) and leaf.text and "$" not in leaf.text:
        message = f"{dotted(path)} looks like a secret written into the file"
        hint = f"Declare `secrets: {{{name}: {{from: env}}}}` and keep the value out of the repository."
        yield Problem(mark=leaf.mark, path=dotted(path), message=message, hint=hint, is_warning=True)
