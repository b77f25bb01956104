"""A repository folder to put templates in, and short ways to ask about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from envmgr.config.problems import Problem
from envmgr.config.templates.catalog import Templates
from envmgr.config.templates.loading import Template
from envmgr.model.spec import AgentSpec

HEAD = "envmgr: 1\n"
WHOLE = HEAD + "agent: {}\n"


class Desk:
    """Templates of one repository, with no user and no built-in ones unless given."""

    def __init__(self, repo: Path, *, user: Path | None = None, built_in: tuple[Path, ...] = ()) -> None:
        self.repo = repo
        self.templates = Templates(user, built_in)

    def write(self, text: str, name: str = "t.yaml") -> Path:
        path = self.repo / ".envmgr" / "templates" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def findings(self, text: str, name: str = "t.yaml") -> list[str]:
        """`line:column: message` of everything there is to say."""
        path = self.write(text, name)
        return [str(problem).removeprefix(f".envmgr/templates/{name}:") for problem in self._problems(path)]

    def hints(self, text: str, name: str = "t.yaml") -> list[str]:
        return [problem.hint for problem in self._problems(self.write(text, name))]

    def _problems(self, path: Path) -> Sequence[Problem]:
        return self.templates.validate(path, self.repo)

    def load(self, text: str, name: str = "t.yaml") -> Template:
        return self.templates.load(self.write(text, name), self.repo)

    def spec(
        self,
        text: str,
        *,
        params: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        branch: str | None = None,
        prompt: str | None = None,
        profiles: tuple[str, ...] = (),
    ) -> AgentSpec:
        return self.templates.resolve(
            self.load(text),
            repo=self.repo,
            name="Blue Otter",
            slug="blue-otter",
            params=params or {},
            environment=env or {},
            branch=branch,
            prompt=prompt,
            profiles=profiles,
        )
