"""Every value of a resolved template, and where it comes from."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from envmgr.config.fields import fields_of, written
from envmgr.config.nodes import Leaf, find, leaves, value_mark
from envmgr.config.problems import Mark, Path, dotted
from envmgr.config.templates.answers import Resolved
from envmgr.config.templates.container_schema import ContainerKeys
from envmgr.config.templates.loading import Template
from envmgr.config.templates.params import as_text
from envmgr.config.templates.service_schema import Service

DEFAULT = "default"
_PARAM = re.compile(r"\$\{(params\.[\w-]+)\}")
_OF_TASKS = ("timeout", "success_exit_codes", "run_when")
_OF_PROCESSES = ("cwd", "shell", "nofile", "nice")
_OF_WHAT_RUNS = ("restart", "fatal_exit_codes", "on_env_change", "replicas", "scope", "stop")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One value. `origin` is `file:line` and how that line comes into play, or `default`."""

    path: str
    value: str
    origin: str


def explain(template: Template, resolved: Resolved, given: Collection[str]) -> Sequence[Explained]:
    """Inputs, then what the files say in their order, then what was left to the defaults.

    Args:
        template: Has the places.
        resolved: Has the values.
        given: Names of the params that the person gave.
    """
    inputs = [
        Explained(
            path=f"params.{name}",
            value=as_text(value),
            origin="--param" if name in given else _where(template, ("params", name, "default")),
        )
        for name, value in resolved.params.items()
    ]
    said = [
        Explained(path=dotted(path), value=leaf.text, origin=_origin(template, path, leaf.mark))
        for path, leaf in leaves(resolved.tree)
        if path[0] != "params"
    ]
    known = {one.path for one in said}
    rest = [one for one in _defaults(resolved.document, "") if not _is_said(one.path, known)]
    return [*inputs, *said, *rest]


def _where(template: Template, path: Path) -> str:
    mark = value_mark(template.tree, path)
    return f"{mark.file}:{mark.line}"


def _origin(template: Template, path: Path, mark: Mark) -> str:
    """The line, and what brings it here: a parent, an import, the defaults, params."""
    written_as = find(template.tree, path)
    if written_as is None and path == ("workspace", "branch"):  # is in every resolved tree
        return DEFAULT
    ways = []
    if mark.file in template.imports:
        ways.append("import")
    elif mark.file != template.shown and path[0] != "env_file":
        ways.append("extends")
    default = find(template.tree, ("defaults", *path[2:])) if path[0] == "services" else None
    if default is not None and written_as is not None and default.mark == written_as.mark:
        ways.append("defaults")
    if isinstance(written_as, Leaf):
        ways += dict.fromkeys(_PARAM.findall(written_as.text))
    return f"{mark.file}:{mark.line}" + (f" ({', '.join(ways)})" if ways else "")


def _is_said(path: str, known: set[str]) -> bool:
    return any(other == path or other.startswith((f"{path}.", f"{path}[")) for other in known)


def _defaults(model: BaseModel, at: str) -> Iterator[Explained]:
    """Single values of the models below; lists and maps that are empty have nothing to say."""
    idle = _idle(model) if isinstance(model, Service) else frozenset[str]()
    if isinstance(model, Service) and model.kind == "container":
        yield Explained(path=f"{at}.kind", value="container", origin="image" if model.image else "build")
    for name, field in fields_of(type(model)).items():
        value = getattr(model, _attribute(type(model), name))
        path = f"{at}.{name}" if at else name
        if path in ("params", "defaults", "import") or name in idle:
            continue
        if isinstance(value, BaseModel):
            yield from _defaults(value, path)
        elif isinstance(value, dict):
            for key, item in value.items():
                if isinstance(item, BaseModel):
                    yield from _defaults(item, f"{path}.{key}")
        elif value == field.default and value not in (None, "", ()):
            yield Explained(path=path, value=written(name, value), origin=DEFAULT)


def _idle(service: Service) -> frozenset[str]:
    """Keys that mean nothing for such a service."""
    idle = set(_OF_TASKS) if service.kind != "task" else set[str]()
    idle |= set(_OF_WHAT_RUNS) if service.kind in ("task", "external") else set()
    idle |= set(_OF_PROCESSES) if service.in_container else set(ContainerKeys.model_fields)
    if service.kind == "external":
        idle |= {*_OF_PROCESSES, "logs", "limits"}
    return frozenset(idle)


def _attribute(model: type[BaseModel], key: str) -> str:
    return next(name for name, field in model.model_fields.items() if (field.alias or name) == key)
