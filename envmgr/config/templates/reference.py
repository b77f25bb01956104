"""docs/reference/template.md, made from the schema. `python -m envmgr.config.templates.reference FILE` writes it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from envmgr.config.checking import unwrapped
from envmgr.config.fields import fields_of, written
from envmgr.config.templates.describing import described
from envmgr.config.templates.schema import Document

_INTRO = """\
# Templates

<!-- Made from envmgr/config/templates/schema.py by `python -m envmgr.config.templates.reference`. Do not edit. -->

A template says what an agent lives in: its worktree, services, ports, variables and assistant. It is a YAML file (1.2; a key given
twice is an error) or a TOML file of the same shape. `envmgr template validate FILE` tells every error with file, line and column;
`envmgr template explain NAME` tells where each value comes from; `envmgr template schema` prints a JSON Schema for your editor.

Templates are looked for in this order; the first of a name is used:

1. the repository: `.envmgr/templates/NAME.yaml` (or `.yml`, `.toml`), and `.envmgr/template.yaml`, which is called by its `name` or
   `default`;
2. yours: `templates/` in `~/.config/envmgr`;
3. the built-in ones: `shell`, `claude`, `web`, `fullstack`.

Unknown keys are errors. Keys that begin with `x-` are yours: they are ignored everywhere, and are a good place for YAML anchors.
Durations are written `500ms`, `10s`, `5m`, `1h`; sizes `512MB` (10^6) or `1GiB` (2^30).

## References

| Write | Get | Where |
| --- | --- | --- |
| `${params.NAME}` | an input of spawn | everywhere |
| `${agent.name}`, `${agent.slug}`, `${agent.branch}` | name, name for paths and branches, branch | everywhere |
| `${repo.name}`, `${repo.root}` | folder name and path of the main checkout | everywhere |
| `${env.NAME}` | a variable of the agent; in `env` itself one that stands above, or is inherited | everywhere |
| `${NAME}`, `${NAME:-default}`, `${NAME:?message}` | a variable of the person who spawns; unset is an error | text, not command lines |
| `${ports.NAME}` | a port of this service | late, inside the service |
| `${services.SERVICE.ports.NAME}`, `${services.SERVICE.host}` | a port of a service, the host it is reached at | late |
| `${host}` | the host of this service | late, text inside the service |
| `${secrets.NAME}` | a secret | late |
| `${workspace.path}`, `${agent.id}` | the worktree, the agent's id | late |
| `$$` | a dollar sign | text, not command lines |

*Late* references are known only at spawn. They can stand in `command`, `env`, `exports`, `args`, `prompt`, probes, `setup` and hooks.

A **command line** (`command: npm run dev`) belongs to the shell: only the dotted references are replaced in it, `$HOME`, `${HOME}` and
`$$` mean what they always mean there. A value is put in as one word of data, quoted for its place, never as code; inside `$(...)`,
backticks and here-documents only values without shell characters can stand. A line that is nothing but `${params.NAME}` is the value
itself. In a **list of words** (`command: [npm, run, dev]`) no shell is involved, and each word is text.

In a **container** no shell is involved either: a line (`command: postgres -c fsync=off`) is split into words as a shell splits them and
given to the image's entry point; quotes group words, and nothing else (`$HOME`, `&&`, `>`) means anything. For a shell say so:
`command: [sh, -c, "..."]`.

`${services.SERVICE.host}` and `${services.SERVICE.ports.NAME}` are what the reader can reach: between containers the service's name and
its port inside, elsewhere 127.0.0.1 and the leased number. Inside a service `${host}` and `${ports.NAME}` are its own; in its `exports`
each dependant gets what is right for it, so `postgres://shop@${host}:${ports.sql}/shop` serves processes and containers.

## Merging

`extends` names parents, oldest first. Maps merge, lists and values replace, `null` (in TOML `"!unset"`) deletes; a `ready` that names
another kind of probe replaces the parent's. `defaults` is merged under every service.

An agent inherits `PATH`, `HOME`, locale, proxy, Docker and XDG variables of the person who spawns; then come `env_file` and `env`. Variables
whose names look like secrets (`*_KEY`, `*_TOKEN`, `*_PASSWORD`) are never stored: from an env file they are fetched when needed, and
`${API_KEY}` is an error that tells to use `secrets`. Secrets are variables of processes and of the agent; a container gets those whose
names stand in its service, such as `env: {API_KEY: "${secrets.API_KEY}"}`, `$API_KEY` in its command, or a line of its own `env_file`.
"""


def markdown() -> str:
    """The whole page."""
    seen: set[type[BaseModel]] = set()
    return _INTRO + "\n".join(_sections(described(), "", seen)) + "\n"


def _sections(model: type[BaseModel], at: str, seen: set[type[BaseModel]]) -> Iterator[str]:
    """A table of keys for each model, where it first occurs."""
    if model in seen:
        return
    seen.add(model)
    yield f"\n## {f'`{at}`' if at else 'Keys'}\n"
    yield f"{(model.__doc__ or '').strip()}\n"
    yield "| Key | Default | Meaning |"
    yield "| --- | --- | --- |"
    inner: list[tuple[type[BaseModel], str]] = []
    for key, field in fields_of(model).items():
        below, suffix = _below(field.annotation)
        if below is not None:
            inner.append((below, f"{at}.{key}{suffix}".lstrip(".")))
        yield f"| `{key}` | {_default(key, field)} | {_cell(field.description or '')} |"
    for below, path in inner:
        yield from _sections(below, path, seen)


# Any: pydantic's FieldInfo and annotations.
def _default(key: str, field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if (
        field.default_factory is not None
        or value is None
        or value in ("", ())
        or isinstance(value, BaseModel)
    ):
        return ""
    text = written(key, value)
    return f"`[{text}]`" if isinstance(value, tuple) else f"`{text}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _below(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    here, suffix = unwrapped(annotation), ""
    while not isinstance(here, type):
        arguments = getattr(here, "__args__", ())
        if not arguments or getattr(here, "__origin__", None) not in (dict, tuple):
            return None, ""
        is_map = here.__origin__ is dict
        here, suffix = unwrapped(arguments[1 if is_map else 0]), suffix + (".NAME" if is_map else "[]")
    return (here, suffix) if issubclass(here, BaseModel) else (None, "")


def keys() -> Mapping[str, list[str]]:
    """Every key by model, for whoever checks that a text names them all."""
    found: dict[str, list[str]] = {}
    left: list[type[BaseModel]] = [Document]
    while left:
        model = left.pop()
        if model.__name__ not in found:
            found[model.__name__] = list(fields_of(model))
            left += [below for field in fields_of(model).values() if (below := _below(field.annotation)[0])]
    return found


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(markdown(), encoding="utf-8")
