"""What a repository runs, judged by its files. Reads only; decides by the first sign that fits."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_READ_BYTES = 200_000
_PORT = "${ports.http}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A service to propose.

    Attributes:
        why: The sign, for people.
        ready: Lines of its probe; empty if none can be told.
        is_sure: Whether it surely keeps running; otherwise it is proposed as a comment.
        is_declared: Whether the repository itself names it, so that it is no guess.
        after: Services that come first.
    """

    name: str
    command: str
    why: str
    kind: str = "process"
    has_port: bool = True
    ready: tuple[str, ...] = ()
    is_sure: bool = True
    is_declared: bool = False
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What was found.

    Attributes:
        setup: Commands that make a fresh worktree usable.
        copy: Files a fresh worktree lacks.
        tests: Command that runs the tests, if known.
        remarks: Sentences for the person.
    """

    services: tuple[Draft, ...] = ()
    setup: tuple[str, ...] = ()
    copy: tuple[str, ...] = ()
    tests: str = ""
    remarks: tuple[str, ...] = ()


_HTTP = ("http: /", "deadline: 2m")
_TCP = ("tcp: http", "deadline: 2m")


def look(repo: Path) -> Signs:
    """What the tools of the languages show, all together."""
    found = [signs for detect in _DETECTORS if (signs := detect(repo))]
    services = _services(repo, found)
    setup = tuple(dict.fromkeys(line for signs in found for line in signs.setup))
    return Signs(
        services=services,
        setup=setup,
        copy=tuple(name for name in (".env", ".env.local") if (repo / name).is_file()),
        tests=next((signs.tests for signs in found if signs.tests), ""),
        remarks=(
            *(remark for signs in found for remark in signs.remarks),
            *missing_tools((*setup, *(draft.command for draft in services))),
        ),
    )


def _services(repo: Path, found: list[Signs]) -> tuple[Draft, ...]:
    services = tuple(draft for signs in found for draft in signs.services)
    if not services:
        services = _make(repo) or _static(repo)
    unique: dict[str, Draft] = {}
    for draft in services:
        unique.setdefault(draft.name, draft)
    return tuple(unique.values())


def missing_tools(lines: Iterable[str]) -> Iterator[str]:
    """Remarks about programs that these command lines need and this machine lacks."""
    for tool in dict.fromkeys(line.split()[0] for line in lines if line.split()):
        if re.fullmatch(r"[a-z][a-z0-9_-]*", tool) and tool != "exec" and not shutil.which(tool):
            yield f"no {tool} on your PATH; install it before you spawn"


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_READ_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return ""


def _node(repo: Path) -> Signs | None:
    try:
        package = json.loads(_text(repo / "package.json"))
    except ValueError:
        return None
    if not isinstance(package, dict):
        return None
    tool, install = _node_tool(repo)
    scripts = package.get("scripts")
    scripts = scripts if isinstance(scripts, dict) else {}
    script = next((name for name in ("dev", "start", "serve") if name in scripts), "")
    return Signs(
        services=(_node_service(tool, script, str(scripts[script])),) if script else (),
        setup=(install,),
        tests=f"{tool} test" if "test" in scripts else "",
        remarks=(
            f"package.json: {tool}" + (f", script {script!r}" if script else ", no dev or start script"),
        ),
    )


def _node_tool(repo: Path) -> tuple[str, str]:
    locks = {
        "pnpm-lock.yaml": ("pnpm", "pnpm install --frozen-lockfile"),
        "yarn.lock": (
            "yarn",
            f"yarn install {'--immutable' if (repo / '.yarnrc.yml').is_file() else '--frozen-lockfile'}",
        ),
        "bun.lock": ("bun", "bun install --frozen-lockfile"),
        "bun.lockb": ("bun", "bun install --frozen-lockfile"),
        "package-lock.json": ("npm", "npm ci"),
    }
    return next((tool for lock, tool in locks.items() if (repo / lock).is_file()), ("npm", "npm install"))


def _node_service(tool: str, script: str, line: str) -> Draft:
    """Vite and Next take the port as an argument; other servers usually read PORT."""
    arguments = ""
    if re.search(r"\bvite\b(?!.*\b(build|preview)\b)", line):
        arguments = f"--host 127.0.0.1 --port {_PORT} --strictPort"
    elif re.search(r"\bnext\b", line):
        arguments = f"-H 127.0.0.1 -p {_PORT}"
    between = " -- " if tool == "npm" else " "
    command = f"{tool} run {script}" + (between + arguments if arguments else "")
    return Draft(
        name="web",
        command=command,
        why=f"package.json, script {script!r}",
        ready=_HTTP if arguments else _TCP,
        is_declared=True,
    )


def _python(repo: Path) -> Signs | None:
    wanted = "".join(
        _text(repo / name) for name in ("pyproject.toml", "requirements.txt", "Pipfile", "setup.py")
    )
    if not wanted and not (repo / "manage.py").is_file():
        return None
    run, setup = _python_tool(repo)
    draft = _python_service(repo, wanted.lower(), run)
    return Signs(
        services=(draft,) if draft else (),
        setup=setup,
        tests=f"{run}pytest" if "pytest" in wanted else "",
        remarks=("Python: " + (draft.why if draft else "no web framework that is known here"),),
    )


def _python_tool(repo: Path) -> tuple[str, tuple[str, ...]]:
    """Prefix of commands, and what makes it work in a fresh worktree."""
    if (repo / "uv.lock").is_file():
        return "uv run ", ("uv sync",)
    if (repo / "poetry.lock").is_file():
        return "poetry run ", ("poetry install",)
    packages = "-r requirements.txt" if (repo / "requirements.txt").is_file() else "-e ."
    if not (repo / "requirements.txt").is_file() and not (repo / "pyproject.toml").is_file():
        return "python3 -m ", ()
    return ".venv/bin/", (f"python3 -m venv .venv && .venv/bin/pip install {packages}",)


def _python_service(repo: Path, wanted: str, run: str) -> Draft | None:
    if (repo / "manage.py").is_file():
        python = "python3 " if run.endswith("-m ") else f"{run}python "
        command = f"{python}manage.py runserver 127.0.0.1:{_PORT}"
        return Draft(name="web", command=command, why="Django's manage.py", ready=_TCP)
    module = _module_with(repo, r"=\s*(?:FastAPI|Starlette)\(")
    if module and re.search("fastapi|starlette|uvicorn", wanted):
        command = f"{run}uvicorn {module} --host 127.0.0.1 --port {_PORT} --reload"
        return Draft(name="web", command=command, why=f"ASGI application {module}", ready=_TCP)
    module = _module_with(repo, r"=\s*Flask\(")
    if module and "flask" in wanted:
        command = f"{run}flask --app {module} run --port {_PORT}"
        return Draft(name="web", command=command, why=f"Flask application {module}", ready=_TCP)
    return None


def _module_with(repo: Path, pattern: str) -> str:
    """`package.module:variable` of the first usual place that makes an application."""
    for name in ("main.py", "app.py", "wsgi.py", "asgi.py", "server.py", "app/main.py", "app/__init__.py"):
        if found := re.search(rf"^(\w+)\s*(?::\s*\w+\s*)?{pattern}", _text(repo / name), flags=re.MULTILINE):
            module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            return f"{module}:{found[1]}"
    return ""


def _go(repo: Path) -> Signs | None:
    if not (repo / "go.mod").is_file():
        return None
    mains = ["."] if (repo / "main.go").is_file() else []
    mains += [f"./cmd/{path.parent.name}" for path in sorted(repo.glob("cmd/*/main.go"))]
    draft = Draft(name="web", command=f"go run {mains[0]}", why="go.mod", is_sure=False) if mains else None
    return Signs(
        services=(draft,) if draft else (),
        setup=("go mod download",),
        tests="go test ./...",
        remarks=("go.mod",),
    )


def _rust(repo: Path) -> Signs | None:
    if not (repo / "Cargo.toml").is_file():
        return None
    draft = Draft(name="web", command="cargo run", why="Cargo.toml", is_sure=False)
    has_main = (repo / "src" / "main.rs").is_file()
    return Signs(
        services=(draft,) if has_main else (),
        setup=("cargo fetch",),
        tests="cargo test",
        remarks=("Cargo.toml",),
    )


def _make(repo: Path) -> tuple[Draft, ...]:
    targets = re.findall(r"^([A-Za-z0-9_-]+):(?!=)", _text(repo / "Makefile"), flags=re.MULTILINE)
    target = next((name for name in ("dev", "serve", "run", "start") if name in targets), "")
    if not target:
        return ()
    return (Draft(name="web", command=f"make {target}", why=f"Makefile, target {target!r}", is_sure=False),)


def _static(repo: Path) -> tuple[Draft, ...]:
    folder = next(
        (name for name in (".", "public", "docs", "site") if (repo / name / "index.html").is_file()), ""
    )
    if not folder:
        return ()
    where = "" if folder == "." else f" --directory {folder}"
    command = f"exec python3 -m http.server {_PORT} --bind 127.0.0.1{where}"
    return (Draft(name="web", command=command, why="index.html", ready=_HTTP),)


_DETECTORS: tuple[Callable[[Path], Signs | None], ...] = (_node, _python, _go, _rust)


def assistants() -> Mapping[str, bool]:
    """Which assistants could be started here."""
    return {"claude_code": shutil.which("claude") is not None}
