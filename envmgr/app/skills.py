"""Operations that teach assistants to coordinate: their skill is written, looked at and taken back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path

from pydantic import Field

from envmgr.aio import blocking
from envmgr.app import skill_pack, text
from envmgr.app.context import App
from envmgr.app.operations import Touch, operation
from envmgr.app.shapes import Ask, View, option, supplied
from envmgr.app.skill_pack import ASSISTANTS, Found, Skill
from envmgr.errors import ConfigError, UsageError


class Where(StrEnum):
    """Whose assistants."""

    REPO = "repo"
    USER = "user"


class AskSkills(Ask):
    """For which assistants, and where."""

    agents: str = option(
        f"Assistants, with commas between them: {', '.join(ASSISTANTS)}",
        default=",".join(ASSISTANTS),
        max_length=200,
    )
    scope: Where = option("In this repository, or for all work of this user", default=Where.REPO)
    repo: str = supplied("Folder inside the repository", "cwd", default="")


class SkillView(View):
    """One file."""

    path: str
    agents: list[str] = Field(description="Assistants that read it")
    state: Found = Field(description="missing, installed, outdated, or changed by a person")
    action: str = Field(default="", description="written, removed, or kept as it was")


class SkillsView(View):
    """All that were looked at."""

    skills: list[SkillView]
    ok: bool = Field(default=True, description="False when a file was kept because a person changed it")


def _text(result: SkillsView, style: text.Style) -> str:
    rows = [[s.action or s.state, ", ".join(s.agents), s.path] for s in result.skills]
    said = text.table(["STATE", "ASSISTANTS", "FILE"], rows, style)
    kept = [s.path for s in result.skills if s.action == "kept" and s.state is Found.THEIRS]
    return said + "".join(f"{path} was changed by a person, and was left as it is\n" for path in kept)


@operation(
    "skills.install",
    route="POST /api/v1/skills/install",
    gives=SkillsView,
    text=_text,
    command="skills install",
    touch=Touch.WRITE,
    is_local=True,
)
async def install(ask: AskSkills, app: App) -> SkillsView:
    """Write short instructions on coordination for assistants, each where it looks for skills.

    What a person wrote or changed there is left as it is.
    """

    def write(skill: Skill, wanted: Sequence[str]) -> SkillView:
        if skill.found is Found.THEIRS:
            return _view(skill, wanted, "kept")
        is_there = skill.found is Found.OURS and set(wanted) <= set(skill.wanted_by)
        return _view(skill, skill.wanted_by, "kept") if is_there else _written(skill, wanted)

    return await _each(ask, write)


@operation(
    "skills.remove",
    route="POST /api/v1/skills/remove",
    gives=SkillsView,
    text=_text,
    command="skills remove",
    touch=Touch.WRITE,
    is_local=True,
)
async def remove(ask: AskSkills, app: App) -> SkillsView:
    """Take the instructions back that `skills install` wrote, with the folders it made; what a person changed stays."""

    def take(skill: Skill, wanted: Sequence[str]) -> SkillView:
        if skill.found in (Found.THEIRS, Found.NOTHING):
            return _view(skill, wanted, "kept")
        left = skill_pack.take_back(skill, wanted)
        return _view(left, left.wanted_by or wanted, "kept" if left.wanted_by else "removed")

    return await _each(ask, take)


@operation(
    "skills.list",
    route="GET /api/v1/skills",
    gives=SkillsView,
    text=_text,
    command="skills list",
    is_local=True,
)
async def listing(ask: AskSkills, app: App) -> SkillsView:
    """Show where assistants look for the instructions on coordination, and whether they are there."""
    return await _each(ask, lambda skill, wanted: _view(skill, skill.wanted_by or wanted, ""))


async def _each(ask: AskSkills, act: Callable[[Skill, Sequence[str]], SkillView]) -> SkillsView:
    assistants = _assistants(ask.agents)

    def run() -> list[SkillView]:
        top = Path.home() if ask.scope is Where.USER else _top(ask.repo)
        places = skill_pack.places(top, assistants)
        return [act(skill_pack.look(path), wanted) for path, wanted in places.items()]

    try:
        skills = await blocking.act("file", run)
    except OSError as error:
        raise ConfigError(
            f"cannot write {error.filename}: {error.strerror}", hint="May you write there?"
        ) from error
    is_kept = any(skill.state is Found.THEIRS and skill.action for skill in skills)
    return SkillsView(skills=skills, ok=not is_kept)


def _assistants(words: str) -> list[str]:
    named = [word.strip() for word in words.split(",") if word.strip()]
    unknown = [word for word in named if word not in ASSISTANTS]
    if unknown or not named:
        raise UsageError(
            f"no assistant is called {', '.join(unknown)!r}" if unknown else "no assistant is named",
            hint=f"There are: {', '.join(ASSISTANTS)}.",
        )
    return list(dict.fromkeys(named))


def _top(repo: str) -> Path:
    here = Path(repo or ".").absolute()
    for folder in (here, *here.parents):
        if (folder / ".git").exists():
            return folder
    raise ConfigError(f"{here} is in no git repository", hint="Say `--scope user`, or go into a repository.")


def _written(skill: Skill, wanted: Sequence[str]) -> SkillView:
    made = skill_pack.put(skill, wanted)
    return _view(made, made.wanted_by, "written")


def _view(skill: Skill, wanted: Sequence[str], action: str) -> SkillView:
    return SkillView(path=str(skill.path), agents=list(wanted), state=skill.found, action=action)
