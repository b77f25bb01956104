"""Skills of assistants: written where they look, and taken back without a trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from envmgr.app import skill_pack
from envmgr.app.context import App
from envmgr.app.skill_pack import ASSISTANTS, BODY, Found
from envmgr.app.skills import AskSkills, SkillsView, install, listing, remove
from envmgr.bootstrap.local import local
from envmgr.config.settings import Settings
from envmgr.errors import ConfigError, UsageError
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    (tmp_path / "repo" / "src").mkdir()
    return tmp_path / "repo"


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.setenv("ENVMGR_STATE_DIR", str(tmp_path / "state"))
    return local(settings=Settings())


def files(folder: Path) -> dict[str, str]:
    """Everything below a folder; of files what is in them."""
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8") if path.is_file() else ""
        for path in folder.rglob("*")
    }


def states(result: SkillsView) -> dict[str, tuple[str, str]]:
    """State and action by assistants."""
    return {",".join(skill.agents): (skill.state.value, skill.action) for skill in result.skills}


@proves("SKILL-001")
async def test_each_assistant_gets_the_skill_where_it_looks_for_skills(repo: Path, app: App) -> None:
    result = await install(AskSkills(repo=str(repo / "src")), app)

    assert result.ok
    assert states(result) == {
        "claude": ("installed", "written"),
        "codex,gemini,opencode": ("installed", "written"),
    }
    for folder in (".claude", ".agents"):
        text = (repo / folder / "skills" / "envmgr" / "SKILL.md").read_text(encoding="utf-8")
        head, _, body = text.removeprefix("---\n").partition("\n---\n")
        assert head.startswith("name: envmgr\ndescription: How to work beside other agents")
        assert body.strip() == BODY.strip()


@proves("SKILL-001")
async def test_a_description_is_short_enough_for_the_standard() -> None:
    text = skill_pack.text_for(ASSISTANTS, made=3)

    description = next(line for line in text.splitlines() if line.startswith("description: "))
    assert len(description) < 1024
    assert ": " not in description.removeprefix("description: ")  # it would be no plain YAML string
    assert len(BODY) < 4000


@proves("SKILL-001")
async def test_installing_twice_changes_nothing_and_more_assistants_are_added(repo: Path, app: App) -> None:
    await install(AskSkills(repo=str(repo), agents="codex"), app)
    before = files(repo)

    again = await install(AskSkills(repo=str(repo), agents="codex"), app)
    assert states(again) == {"codex": ("installed", "kept")}
    assert files(repo) == before

    more = await install(AskSkills(repo=str(repo), agents="gemini, codex"), app)
    assert states(more) == {"codex,gemini": ("installed", "written")}
    assert states(await listing(AskSkills(repo=str(repo), agents="claude,gemini"), app)) == {
        "claude": ("missing", ""),
        "codex,gemini": ("installed", ""),
    }


@proves("SKILL-002")
@pytest.mark.parametrize("before", [(), (".claude",), (".claude/skills/other", ".agents/skills")])
async def test_removing_leaves_the_folder_as_it_was(repo: Path, app: App, before: tuple[str, ...]) -> None:
    for folder in before:
        (repo / folder).mkdir(parents=True)
    was = files(repo)

    await install(AskSkills(repo=str(repo)), app)
    result = await remove(AskSkills(repo=str(repo)), app)

    assert {skill.action for skill in result.skills} == {"removed"}
    assert files(repo) == was
    assert {skill.action for skill in (await remove(AskSkills(repo=str(repo)), app)).skills} == {"kept"}


@proves("SKILL-002")
async def test_a_file_that_assistants_share_stays_until_the_last_of_them_is_done(
    repo: Path, app: App
) -> None:
    was = files(repo)
    await install(AskSkills(repo=str(repo), agents="codex,gemini"), app)

    first = await remove(AskSkills(repo=str(repo), agents="codex"), app)
    assert states(first) == {"gemini": ("installed", "kept")}
    assert files(repo) != was

    await remove(AskSkills(repo=str(repo), agents="gemini"), app)
    assert files(repo) == was


@proves("SKILL-002")
async def test_what_a_person_changed_or_wrote_is_neither_overwritten_nor_removed(
    repo: Path, app: App
) -> None:
    await install(AskSkills(repo=str(repo), agents="claude"), app)
    changed = repo / ".claude/skills/envmgr/SKILL.md"
    changed.write_text(changed.read_text(encoding="utf-8") + "\nMine.\n", encoding="utf-8")
    own = repo / ".agents/skills/envmgr/SKILL.md"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"\xff mine alone")
    kept = {changed: changed.read_bytes(), own: own.read_bytes()}

    for act in (install, remove):
        result = await act(AskSkills(repo=str(repo)), app)
        assert not result.ok
        assert {(skill.state, skill.action) for skill in result.skills} == {(Found.THEIRS, "kept")}

    assert {path: path.read_bytes() for path in kept} == kept


@proves("SKILL-001")
async def test_the_skill_of_an_earlier_version_is_brought_up_to_date(repo: Path, app: App) -> None:
    path = repo / ".claude/skills/envmgr/SKILL.md"
    path.parent.mkdir(parents=True)
    path.write_text(skill_pack.text_for(["claude"], made=3, body="# Older words\n"), encoding="utf-8")

    assert states(await listing(AskSkills(repo=str(repo), agents="claude"), app)) == {
        "claude": ("outdated", "")
    }
    await install(AskSkills(repo=str(repo), agents="claude"), app)

    assert path.read_text(encoding="utf-8") == skill_pack.text_for(["claude"], made=3)


@proves("SKILL-001")
async def test_a_user_has_skills_for_all_repositories(
    tmp_path: Path, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))

    await install(AskSkills.model_validate({"scope": "user", "agents": "claude"}), app)

    assert (home / ".claude/skills/envmgr/SKILL.md").exists()


@proves("SKILL-001")
async def test_wrong_words_and_folders_are_refused(tmp_path: Path, app: App) -> None:
    for agents in ("", "claude,emacs", ","):
        with pytest.raises(UsageError, match="no assistant is"):
            await install(AskSkills(agents=agents, repo=str(tmp_path)), app)
    with pytest.raises(ConfigError, match="is in no git repository"):
        await install(AskSkills(repo=str(tmp_path)), app)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".claude").write_text("a file", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot write"):
        await install(AskSkills(agents="claude", repo=str(tmp_path)), app)
