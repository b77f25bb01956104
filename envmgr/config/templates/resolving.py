"""A template and the answers of one spawn make an `AgentSpec`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from envmgr.config.checking import as_table
from envmgr.config.nodes import Leaf, Table, find, leaves, text_leaf
from envmgr.config.problems import BadFile, Mark, Problem, raise_errors
from envmgr.config.templates import params as inputs
from envmgr.config.templates.answers import Answers, Resolved
from envmgr.config.templates.building import build
from envmgr.config.templates.environment import entry_of
from envmgr.config.templates.interpolation import Filler, Scope
from envmgr.config.templates.loading import Template, checked, scope_for
from envmgr.config.templates.selecting import refuse_unknown
from envmgr.config.variables import inherited, looks_secret, read_env_file
from envmgr.core.placeholders import escape
from envmgr.errors import ConfigError
from envmgr.model.spec import AgentSpec, PortsPolicy, SecretRef, SecretSource

_DEFAULT_BRANCH = "agent/${agent.slug}"


def resolve(template: Template, answers: Answers, *, ports: PortsPolicy) -> AgentSpec:
    """The spec to spawn. Strings that may use ports or secrets are in late form (`core.placeholders`).

    Raises:
        UsageError: A param is unknown, missing or wrong.
        ConfigError: With file, line and column of everything that cannot be filled in.
    """
    return build(template, answers, fill(template, answers), ports=ports)


def fill(template: Template, answers: Answers) -> Resolved:
    """Put the answers into the tree and check the result."""
    bound = inputs.bind(template.params, answers.params)
    resolving = _Resolving(
        template.tree, answers, {name: inputs.as_text(value) for name, value in bound.items()}
    )
    filled = resolving.run()
    document, problems = checked(filled, chosen=answers.profiles)
    # Where nothing could be filled in, there is nothing to check.
    raise_errors([*resolving.problems, *(p for p in problems if p.mark not in resolving.unfilled)])
    assert document is not None, "without errors there is a document"
    refuse_unknown(document, answers.profiles)
    return Resolved(
        tree=filled,
        document=document,
        params=bound,
        env=resolving.env,
        inherited=tuple(sorted(resolving.inherited)),
        secrets=tuple(resolving.secrets.values()),
        files=tuple(resolving.files),
    )


class _Resolving:
    """One run, in the order in which values come to be known: branch, env files, env, everything else."""

    def __init__(self, tree: Table, answers: Answers, params: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self.files: list[Path] = []
        self.env = {name: escape(value) for name, value in inherited(answers.environment).items()}
        self.inherited = set(self.env)
        self.secrets: dict[str, SecretRef] = {}
        self.unfilled: set[Mark] = set()
        self._tree, self._answers = tree, answers
        values = {f"params.{name}": text for name, text in params.items()}
        values |= {"agent.name": answers.name, "agent.slug": answers.slug}
        values |= {"repo.name": answers.repo.name, "repo.root": str(answers.repo)}
        self._scope = replace(scope_for(tree, values), environment=answers.environment)

    def run(self) -> Table:
        """The whole tree filled in."""
        branch = self._branch()
        self._scope = replace(self._scope, values={**self._scope.values, "agent.branch": branch})
        from_files = self._env_files(("env_file",))
        self.env |= from_files
        self.inherited -= from_files.keys()
        self._own_env()
        self._scope = replace(self._scope, env=self.env)
        filler = Filler(self._scope)
        filled = as_table(filler.fill(self._tree))
        self.problems += filler.problems
        for name in as_table(filled.get("env") or Table(filled.mark, {}, {})).items:
            filled = _with(filled, "env", name, self.env[name])
        filled = self._with_service_files(filled)
        return _with(filled, "workspace", "branch", branch)

    def _branch(self) -> str:
        if self._answers.branch:
            return self._answers.branch
        written = find(self._tree, ("workspace", "branch"))
        leaf = (
            written if isinstance(written, Leaf) else Leaf(self._tree.mark, _DEFAULT_BRANCH, _DEFAULT_BRANCH)
        )
        return str(self._filled(leaf, ("workspace", "branch"), self._scope).value)

    def _filled(self, leaf: Leaf, path: tuple[str | int, ...], scope: Scope) -> Leaf:
        filler = Filler(scope)
        found = filler.fill(leaf, path)
        self.problems += filler.problems
        assert isinstance(found, Leaf), "a value stays a value"
        return found

    def _own_env(self) -> None:
        """In the order of the file: an entry sees those above it, and what is inherited."""
        section = self._tree.get("env")
        for name, node in section.items.items() if isinstance(section, Table) else ():
            if isinstance(node, Leaf):
                scope = replace(self._scope, env=self.env)
                self.env[name] = self._filled(node, ("env", name), scope).text
                self.inherited.discard(name)
                self.secrets.pop(name, None)

    def _env_files(self, path: tuple[str, ...]) -> dict[str, str]:
        """Variables of the files named at this path, in late form; what looks like a secret stays in its file.

        A service's own files name its secrets: a container gets no others.
        """
        found: dict[str, str] = {}
        node = find(self._tree, path)
        for below, leaf in leaves(node) if node else ():
            file = self._filled(leaf, (*path, *below), self._scope)
            for name, value in self._read(file).items():
                if looks_secret(name):
                    self._refer(name, file)
                    if path[0] == "services":
                        found[name] = f"${{secrets.{name}}}"
                else:
                    found[name] = escape(value)
        return found

    def _read(self, file: Leaf) -> dict[str, str]:
        path = self._answers.repo / Path(file.text).expanduser()
        self.files.append(path)
        if not path.is_file():
            problem = Problem(
                mark=file.mark,
                path="env_file",
                message=f"env file {file.text} does not exist",
                hint="It is looked for in the repository.",
            )
            self.problems.append(problem)
            return {}
        try:
            return read_env_file(path, file.text)
        except ConfigError as error:
            raise BadFile(
                [Problem(mark=file.mark, path="env_file", message=error.message, hint=error.hint)]
            ) from error

    def _refer(self, name: str, file: Leaf) -> None:
        ref = SecretRef(name=name, source=SecretSource.FILE, key=entry_of(file.text, name))
        other = self.secrets.setdefault(name, ref)
        if other.key.partition("#")[0] != file.text:
            message = f"{name} comes from {other.key.partition('#')[0]} and from {file.text}"
            hint = "Declare it under 'secrets' once, and use ${secrets.NAME} where it differs."
            self.problems.append(Problem(mark=file.mark, path="env_file", message=message, hint=hint))

    def _with_service_files(self, filled: Table) -> Table:
        """A service's own `env` comes after its env files."""
        services = filled.get("services")
        for name in services.items if isinstance(services, Table) else ():
            for key, value in self._env_files(("services", name, "env_file")).items():
                env = find(filled, ("services", name, "env"))
                if not (isinstance(env, Table) and key in env.items):
                    filled = _with(filled, "services", name, "env", key, value)
        return filled


def _with(tree: Table, *path: str) -> Table:
    """The tree with a text (the last word) at a path; tables on the way are made where missing."""
    key, *rest = path
    node, mark = tree.get(key), tree.keys.get(key, tree.mark)
    new: Leaf | Table
    if len(rest) == 1:
        new = text_leaf(node.mark if node else mark, rest[0])
    else:
        new = _with(as_table(node or Table(mark, {}, {})), *rest)
    return Table(tree.mark, {**tree.items, key: new}, {**tree.keys, key: mark})
