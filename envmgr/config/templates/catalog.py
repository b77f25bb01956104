"""Where templates are: the repository's come first, then the user's, then the built-in ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from envmgr.config.files import read, read_text
from envmgr.config.nodes import Leaf, Table
from envmgr.config.problems import BadFile, Problem, did_you_mean
from envmgr.config.templates import explaining, loading, resolving
from envmgr.config.templates.answers import Answers
from envmgr.config.templates.editor_schema import editor_schema
from envmgr.config.templates.loading import Template
from envmgr.config.templates.params import placeholders
from envmgr.errors import ConfigError, NotFound
from envmgr.model.spec import AgentSpec, PortsPolicy

SUFFIXES = (".yaml", ".yml", ".toml")
_SINGLE = "template"


class Origin(StrEnum):
    """Who a template belongs to, first come first."""

    REPOSITORY = "repository"
    USER = "user"
    BUILT_IN = "built-in"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateEntry:
    """One line of `envmgr template list`.

    Attributes:
        path: The file as people see it.
        is_shadowed: Another one of the same name comes first.
        problem: Why it cannot be used, if its file cannot even be read; empty otherwise.
    """

    name: str
    description: str
    origin: Origin
    path: str
    is_shadowed: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSource:
    """A template as its author wrote it."""

    name: str
    origin: Origin
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class _Found:
    name: str
    origin: Origin
    path: Path


def built_in_dirs() -> tuple[Path, ...]:
    """`envmgr/templates` in an installed package, `templates/` beside the package in a checkout."""
    package = Path(__file__).resolve().parents[2]
    if (package / "templates").is_dir():
        return (package / "templates",)
    # Beside an installed package anything could lie; only a checkout has our project file there.
    return (package.parent / "templates",) if (package.parent / "pyproject.toml").is_file() else ()


class Templates:
    """All templates a person can use. Reads files at each call; blocks."""

    def __init__(
        self,
        user_dir: Path | None,
        builtin_dirs: Sequence[Path] | None = None,
        *,
        ports: PortsPolicy | None = None,
    ) -> None:
        """`user_dir` holds `templates/`; `ports` is what the host says where a template says nothing."""
        self._user = user_dir / "templates" if user_dir else None
        self._built_in = tuple(built_in_dirs() if builtin_dirs is None else builtin_dirs)
        self._ports = ports or PortsPolicy()

    def list(self, repo: Path | None) -> list[TemplateEntry]:
        """All of them, by precedence and name; never fails because of one."""
        seen: set[str] = set()
        entries = []
        for found in self._all(repo):
            entries.append(self._entry(found, repo, is_shadowed=found.name in seen))
            seen.add(found.name)
        return entries

    def show(self, name: str, repo: Path | None) -> TemplateSource:
        """The text of a template, by name or path. Raises NotFound with the nearest names."""
        found = self._find(name, repo)
        shown = self._shown(found.path, repo)
        return TemplateSource(
            name=found.name, origin=found.origin, path=shown, text=read_text(found.path, shown)
        )

    def validate(self, path: Path, repo: Path | None = None) -> Sequence[Problem]:
        """Every error and warning of a file, parents included. Raises NotFound if there is no such file."""
        return self._validate(_file(path, repo), repo)

    def check(self, name_or_path: str, repo: Path | None) -> Sequence[Problem]:
        """As `validate`, for a template by name too."""
        return self._validate(self._find(name_or_path, repo), repo)

    def _validate(self, found: _Found, repo: Path | None) -> Sequence[Problem]:
        try:
            return list(self._load(found, repo).warnings)
        except BadFile as error:
            return error.problems

    def load(self, name_or_path: str | Path, repo: Path | None) -> Template:
        """Find, read, merge and check.

        Raises:
            NotFound: Unknown; the hint has the nearest names and where was looked.
            ConfigError: With every error of the file in `details.errors`.
        """
        found = (
            _file(name_or_path, repo) if isinstance(name_or_path, Path) else self._find(name_or_path, repo)
        )
        return self._load(found, repo)

    def resolve(
        self,
        template: Template,
        *,
        repo: Path,
        name: str,
        slug: str,
        params: Mapping[str, str],
        environment: Mapping[str, str],
        base: str | None = None,
        branch: str | None = None,
        prompt: str | None = None,
        profiles: Sequence[str] = (),
    ) -> AgentSpec:
        """The spec to spawn; see `resolving.Answers` for the arguments and `resolving.resolve` for the errors."""
        answers = Answers(
            repo=repo,
            name=name,
            slug=slug,
            params=params,
            environment=environment,
            base=base,
            branch=branch,
            prompt=prompt,
            profiles=tuple(profiles),
        )
        return resolving.resolve(template, answers, ports=self._ports)

    def explain(
        self,
        template: Template,
        *,
        repo: Path,
        params: Mapping[str, str],
        environment: Mapping[str, str],
        name: str = "agent",
        slug: str = "agent",
    ) -> Sequence[explaining.Explained]:
        """Every value with the place it comes from; late references and params that must be given stay open."""
        params = {**placeholders(template.params), **params}
        answers = Answers(repo=repo, name=name, slug=slug, params=params, environment=environment)
        return explaining.explain(template, resolving.fill(template, answers), params)

    def json_schema(self) -> dict[str, object]:
        """JSON Schema of the format, for editors."""
        return editor_schema()

    def _load(self, found: _Found, repo: Path | None) -> Template:
        def show(file: Path) -> str:
            return self._shown(file, repo)

        def find(parent: str, child: Path) -> Path:
            return self._parent(parent, child, repo)

        return loading.load(found.path, name=found.name, show=show, find=find, top=repo)

    def _parent(self, parent: str, child: Path, repo: Path | None) -> Path:
        """A template may build on the one of its own name that it shadows."""
        if _is_path(parent):
            path = (child.parent / Path(parent).expanduser()).resolve()
            if not path.is_file():
                raise NotFound(f"no file {parent}", hint="Paths are relative to the file that names them.")
            return path
        candidates = [found for found in self._all(repo) if found.name == parent]
        paths = [found.path.resolve() for found in candidates]
        if child.resolve() in paths:
            candidates = candidates[paths.index(child.resolve()) + 1 :] or candidates
        if not candidates:
            raise self._unknown(parent, repo)
        return candidates[0].path

    def _find(self, name: str, repo: Path | None) -> _Found:
        if _is_path(name):
            return _file(Path(name), repo)
        for found in self._all(repo):
            if found.name == name:
                return found
        raise self._unknown(name, repo)

    def _unknown(self, name: str, repo: Path | None) -> NotFound:
        names = sorted({found.name for found in self._all(repo)})
        places = [self._shown(folder, repo) for _, folder in self._folders(repo)]
        hint = f"{did_you_mean(name, names, among='There are') or 'There are none.'} Looked in {', '.join(places)}."
        return NotFound(f"no template {name!r}", hint=hint, details={"known": names, "looked_in": places})

    def _folders(self, repo: Path | None) -> Iterator[tuple[Origin, Path]]:
        if repo:
            yield Origin.REPOSITORY, repo / ".envmgr" / "templates"
        if self._user:
            yield Origin.USER, self._user
        yield from ((Origin.BUILT_IN, folder) for folder in self._built_in)

    def _all(self, repo: Path | None) -> Iterator[_Found]:
        for origin, folder in self._folders(repo):
            for path in _files(folder):
                yield _Found(path.stem, origin, path)
            if origin is Origin.REPOSITORY:
                for path in _files(folder.parent, stem=_SINGLE):
                    yield _Found(_name_of(path), origin, path)

    def _entry(self, found: _Found, repo: Path | None, *, is_shadowed: bool) -> TemplateEntry:
        description, problem = "", ""
        shown = self._shown(found.path, repo)
        try:
            tree = read(found.path, shown)
            node = tree.get("description") if isinstance(tree, Table) else None
            description = node.text if isinstance(node, Leaf) else ""
        except ConfigError as error:
            problem = error.message
        return TemplateEntry(
            name=found.name,
            description=description,
            origin=found.origin,
            path=shown,
            is_shadowed=is_shadowed,
            problem=problem,
        )

    def _shown(self, path: Path, repo: Path | None) -> str:
        """Never an absolute home path (architecture 12)."""
        for folder in self._built_in:
            if path.is_relative_to(folder):
                return str(Path("(built-in)") / path.relative_to(folder))
        for base, prefix in ((repo, Path()), (Path.home(), Path("~"))):
            if base and path.is_relative_to(base):
                return str(prefix / path.relative_to(base))
        return str(path)


def _files(folder: Path, *, stem: str = "") -> list[Path]:
    try:
        files = [path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file()]
    except OSError:
        return []
    return sorted(path for path in files if not stem or path.stem == stem)


def _file(path: Path, repo: Path | None) -> _Found:
    """A template that is named by its file. It counts as the repository's and shadows nothing."""
    path = path.expanduser()
    path = path if path.is_absolute() or repo is None else repo / path
    if not path.is_file():
        raise NotFound(
            f"no template file {path.name}", hint="A relative path starts at the top of the repository."
        )
    return _Found(_name_of(path), Origin.REPOSITORY, path)


def _is_path(text: str) -> bool:
    return "/" in text or text.endswith(SUFFIXES)


def _name_of(path: Path) -> str:
    """`.envmgr/template.yaml` is named inside, or `default`."""
    if path.stem != _SINGLE or path.parent.name != ".envmgr":
        return path.stem
    try:
        tree = read(path, path.name)
    except ConfigError:
        return "default"
    node = tree.get("name") if isinstance(tree, Table) else None
    return node.text if isinstance(node, Leaf) else "default"
