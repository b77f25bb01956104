"""`TemplateSource` on template files."""

from __future__ import annotations

import os
import re
from collections.abc import ItemsView, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from envmgr.config import settings as configuration
from envmgr.config.fields import SLUG
from envmgr.config.importers import importing, proposing
from envmgr.config.importers.findings import Finding as Remark
from envmgr.config.init import writing
from envmgr.config.init.writing import assistant
from envmgr.config.problems import Problem
from envmgr.config.settings import Settings
from envmgr.config.templates.catalog import Templates
from envmgr.config.variables import inherited
from envmgr.errors import ConfigError, NotFound, UsageError
from envmgr.model.spec import AgentSpec, Asked, PortsPolicy
from envmgr.model.template import (
    Explained,
    Finding,
    ImportedTemplate,
    ImportFinding,
    ImportWish,
    Proposal,
    TemplateEntry,
)


class TemplateFiles:
    """Templates in the repository, the user's folder, and the built-in folder."""

    def __init__(self, settings: Settings) -> None:
        self._user = configuration.config_dir(os.environ)
        self._usual = Templates(self._user, ports=_ports(settings))

    def _of(self, repo: Path | None) -> Templates:
        """A repository with settings of its own has its own defaults for ports."""
        if repo is None or not (repo / configuration.REPOSITORY).is_file():
            return self._usual
        return Templates(self._user, ports=_ports(configuration.load(repo=repo).settings))

    def listing(self, repo: Path | None) -> Sequence[TemplateEntry]:
        """See `TemplateSource.listing`."""
        return [
            TemplateEntry(
                name=entry.name,
                origin=entry.origin.value,
                path=entry.path,
                description=entry.description or entry.problem,
                is_shadowed=entry.is_shadowed,
            )
            for entry in self._usual.list(_top(repo))
        ]

    def source(self, name: str, repo: Path | None) -> tuple[str, str]:
        """See `TemplateSource.source`."""
        found = self._usual.show(name, _top(repo))
        return found.path, found.text

    def check(self, name: str, repo: Path | None) -> Sequence[Finding]:
        """See `TemplateSource.check`."""
        top = _top(repo)
        file = next((p for p in ((repo or Path()) / name, Path(name)) if p.is_file()), None)
        if file is not None:
            return [_finding(p) for p in self._of(top).validate(file, top)]
        return [_finding(p) for p in self._of(top).check(name, top)]

    def resolve(
        self,
        name: str,
        *,
        repo: Path,
        agent: str,
        params: Mapping[str, str],
        environment: Mapping[str, str],
        base: str | None = None,
        branch: str | None = None,
        prompt: str | None = None,
        profiles: Sequence[str] = (),
    ) -> AgentSpec:
        """See `TemplateSource.resolve`."""
        templates = self._of(repo)
        template = templates.load(name, repo)
        used = _Used(environment)
        spec = templates.resolve(
            template,
            repo=repo,
            name=agent,
            slug=agent.replace("_", "-"),
            params=params,
            environment=used,
            base=base,
            branch=branch,
            prompt=prompt,
            profiles=profiles,
        )
        asked = Asked(
            template=name, params=dict(params), environment=used.known(), unset=tuple(sorted(used.missing))
        )
        return replace(spec, asked=asked)

    def resolve_again(self, old: AgentSpec, *, environment: Mapping[str, str]) -> AgentSpec:
        """See `TemplateSource.resolve_again`."""
        asked = old.asked or _guessed(old)
        more = {name: value for name, value in environment.items() if name not in asked.unset}
        for name in inherited(more):  # those that the agent inherits are those of its spawn
            del more[name]
        new = self.resolve(
            asked.template,
            repo=Path(old.repo),
            agent=old.name,
            params=asked.params,
            environment={**more, **asked.environment},
            base=old.workspace.base,
            branch=old.workspace.branch,
            prompt="",
            profiles=old.profiles,
        )
        assert new.asked is not None, "resolve says what was asked"
        learned = replace(
            asked,
            environment={**new.asked.environment, **asked.environment},
            unset=tuple(sorted({*asked.unset, *new.asked.unset})),
        )
        assistant = replace(new.assistant, prompt=old.assistant.prompt)
        return replace(new, assistant=assistant, origin=old.origin, asked=learned)

    def explain(self, name: str, repo: Path | None) -> Sequence[Explained]:
        """See `TemplateSource.explain`."""
        top = _top(repo)
        templates = self._of(top)
        template = templates.load(name, top)
        fields = templates.explain(template, repo=top or Path.cwd(), params={}, environment=os.environ)
        return [Explained(path=f.path, value=f.value, where=f.origin) for f in fields]

    def schema(self) -> Mapping[str, object]:
        """See `TemplateSource.schema`."""
        return self._usual.json_schema()

    def imported(self, wish: ImportWish, cwd: Path) -> ImportedTemplate:
        """See `TemplateSource.imported`."""
        files = [_existing(cwd, file) for file in wish.files]
        top = _top(cwd) or files[0].parent
        if wish.name and not re.fullmatch(SLUG, wish.name):
            raise UsageError(f"{wish.name!r} is not a template's name", hint="Use a-z, 0-9, - and _.")

        def show(path: Path) -> str:
            return str(path.relative_to(top)) if path.is_relative_to(top) else str(path)

        found = importing.read(
            files, top=top, show=show, format=wish.format, profiles=wish.profiles, services=wish.services
        )
        name = wish.name or proposing.name_for(found)
        shown = [show(file) for file in files]
        return ImportedTemplate(
            name=name,
            format=found.format,
            path=str(top / writing.PLACE.with_name(f"{name}.yaml")),
            text=proposing.template(found, name=name, sources=shown, agent=list(assistant())),
            findings=tuple(_import_finding(finding) for finding in found.findings),
            is_lossless=found.is_lossless,
        )

    def propose(self, repo: Path) -> Proposal:
        """See `TemplateSource.propose`."""
        top = _top(repo)
        if top is None:
            raise ConfigError(
                "this is not a git repository", hint="Run `git init` and commit something first."
            )
        found = writing.propose(top)
        return Proposal(path=str(found.path), text=found.text, findings=tuple(found.findings))


class _Used(Mapping[str, str]):
    """A person's environment that notes which of its variables were asked for."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._all = environment
        self._found: set[str] = set()
        self.missing: set[str] = set()

    def __getitem__(self, name: str) -> str:
        (self._found if name in self._all else self.missing).add(name)
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def items(self) -> ItemsView[str, str]:
        """All of them; that is no question for any."""
        return self._all.items()

    def known(self) -> dict[str, str]:
        """Those that were asked for, and those that every agent inherits."""
        return {**inherited(self._all), **{name: self._all[name] for name in self._found}}


def _guessed(old: AgentSpec) -> Asked:
    """For agents of versions that did not keep what was asked."""
    params = {name: str(value) for name, value in old.params.items()}
    return Asked(template=old.template, params=params, environment=old.env)


def _ports(settings: Settings) -> PortsPolicy:
    return PortsPolicy(first=settings.ports.first, last=settings.ports.last, block=settings.ports.block)


def _top(folder: Path | None) -> Path | None:
    """The checkout that a folder lies in, found without git; None outside of one."""
    if folder is None:
        return None
    folder = folder.resolve()
    return next((place for place in (folder, *folder.parents) if (place / ".git").exists()), None)


def _existing(cwd: Path, file: str) -> Path:
    path = (cwd / Path(file).expanduser()).resolve()
    if not path.is_file():
        raise NotFound(
            f"no file {file}",
            hint="Name a compose file, devcontainer.json, Procfile or process-compose.yaml.",
        )
    return path


def _import_finding(finding: Remark) -> ImportFinding:
    return ImportFinding(
        file=finding.mark.file,
        line=finding.mark.line,
        column=finding.mark.column,
        severity=finding.severity.value,
        key=finding.key,
        says=finding.says,
        service=finding.service,
    )


def _finding(problem: Problem) -> Finding:
    return Finding(
        file=problem.mark.file,
        line=problem.mark.line,
        column=problem.mark.column,
        path=problem.path,
        message=problem.message,
        hint=problem.hint,
        is_warning=problem.is_warning,
    )
