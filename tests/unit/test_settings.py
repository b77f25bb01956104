from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from envmgr.app.paths import state_dir
from envmgr.config.settings import Loaded, load
from envmgr.errors import ConfigError
from tests.support.requirements import proves

Load = Callable[..., Loaded]


@pytest.fixture
def settings(tmp_path: Path) -> Load:
    """Load from these texts of the three files and these variables."""

    def call(*, system: str = "", user: str = "", repo: str = "", **variables: str) -> Loaded:
        files = {"system.toml": system, ".config/envmgr/config.toml": user, "repo/.envmgr.toml": repo}
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf-8")
        environment = {"HOME": str(tmp_path), **variables}
        return load(environment, repo=tmp_path / "repo", system=tmp_path / "system.toml")

    return call


@proves("CONF-001")
def test_the_nearer_source_wins_and_is_named(settings: Load) -> None:
    loaded = settings(
        system="[ports]\nblock = 1\n[host]\nmax_agents = 1\n[log]\nlevel = 'ERROR'\n[tmux]\ndeadline_s = 1\n",
        user="[ports]\nblock = 2\n[host]\nmax_agents = 2\n[log]\nlevel = 'DEBUG'\n",
        repo="[ports]\nblock = 3\n",
        ENVMGR_HOST__MAX_AGENTS="4",
    )

    origins = {one.path: (one.value, Path(one.origin).name) for one in loaded.origins}
    assert origins["tmux.deadline_s"] == ("1.0", "system.toml:8")
    assert origins["log.level"] == ("DEBUG", "config.toml:6")
    assert origins["ports.block"] == ("3", ".envmgr.toml:2")
    assert origins["host.max_agents"] == ("4", "ENVMGR_HOST__MAX_AGENTS")
    assert origins["ports.first"] == ("20000", "default")
    assert loaded.settings.host.max_agents == 4


@pytest.mark.parametrize(
    ("source", "text", "message", "hint"),
    [
        (
            "user",
            "[ports]\nblok = 1\n",
            "~/.config/envmgr/config.toml:2:1: unknown key 'blok' in ports",
            "Did you mean 'block'?",
        ),
        ("user", "[port]\n", "~/.config/envmgr/config.toml:1:2: unknown key 'port'", "Did you mean 'ports'?"),
        (
            "user",
            "[ports]\nblock = 0\n",
            "~/.config/envmgr/config.toml:2:9: ports.block: must be at least 1",
            "",
        ),
        (
            "user",
            "[log]\nlevel = 'LOUD'\n",
            "~/.config/envmgr/config.toml:2:9: log.level: 'LOUD' is not one of",
            "Known here",
        ),
        ("user", "[ports\n", "~/.config/envmgr/config.toml:1:7: not valid TOML", ""),
        (
            "user",
            "[ports]\nlast = 20001\n",
            "~/.config/envmgr/config.toml:1:2: ports: 20000 to 20001 does not hold one",
            "",
        ),
        (
            "repo",
            "[host]\nmax_agents = 9\n",
            ".envmgr.toml:2:14: host.max_agents cannot be set by a repository",
            "ports.block",
        ),
        (
            "ENVMGR_PORTS__BLOK",
            "1",
            "ENVMGR_PORTS__BLOK: unknown key 'blok' in ports",
            "Did you mean 'block'?",
        ),
        (
            "ENVMGR_PORT__BLOCK",
            "1",
            "ENVMGR_PORT__BLOCK: no section 'PORT' of settings",
            "Did you mean 'PORTS'?",
        ),
        ("ENVMGR_TMUX__DEADLINE_S", "0", "ENVMGR_TMUX__DEADLINE_S: tmux.deadline_s: must be more than 0", ""),
    ],
)
@proves("CONF-002")
def test_a_wrong_setting_is_told_with_its_place(
    settings: Load, source: str, text: str, message: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(**{source: text})

    assert caught.value.message.startswith(message)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"ENVMGR_STATE_DIR": "/s", "XDG_STATE_HOME": "/x"}, "/s"),
        ({"XDG_STATE_HOME": "/x"}, "/x/envmgr"),
        ({"XDG_STATE_HOME": "relative"}, "/h/.local/state/envmgr"),
        ({}, "/h/.local/state/envmgr"),
    ],
)
def test_the_state_folder_is_where_xdg_says(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], folder: str
) -> None:
    for name, value in {"HOME": "/h", **variables}.items():
        monkeypatch.setenv(name, value)

    assert state_dir() == folder
