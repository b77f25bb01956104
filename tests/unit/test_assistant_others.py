"""How Codex, Gemini CLI and opencode are started: questions answered, the person's configuration kept."""

from __future__ import annotations

import hashlib
import json
import shlex
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from envmgr.assistants.codex import CodexAssistant
from envmgr.assistants.codex_hooks import HOOKS as CODEX_HOOKS
from envmgr.assistants.gemini import GeminiAssistant
from envmgr.assistants.gemini_hooks import HOOKS as GEMINI_HOOKS
from envmgr.assistants.opencode import OpencodeAssistant
from envmgr.errors import ConfigError
from tests.support.assistants import CONVERSATION, gemini_settings, place, settings_of, start
from tests.support.requirements import proves

# --- Codex ----------------------------------------------------------------------------------------------------


@proves("CLIENT-021")
def test_codex_is_told_all_in_its_arguments(tmp_path: Path) -> None:
    here = place(tmp_path)

    settings = settings_of(start(CodexAssistant(), here))

    assert settings["projects"] == {str(here.worktree): {"trust_level": "trusted"}}
    assert settings["features"] == {"daemon_auto_start": False, "shell_snapshot": False}
    assert set(settings["hooks"]) == {*CODEX_HOOKS, "state"}
    assert settings["mcp_servers"]["envmgr"]["env_vars"] == ["ENVMGR_AGENT_KEY", "ENVMGR_STATE_DIR"]


@proves("CLIENT-021")
def test_codex_trusts_exactly_the_hooks_that_are_given(tmp_path: Path) -> None:
    note = tmp_path / "note.md"

    hooks = settings_of(start(CodexAssistant(), place(tmp_path, handoff=note)))["hooks"]

    # As Codex 0.169.0 computes it for what it finds under `hooks`.
    expected = {}
    for event, label in CODEX_HOOKS.items():
        for number, handler in enumerate(hooks[event][0]["hooks"]):
            identity = {"event_name": label, "hooks": [{"async": False, **handler}]}
            text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
            key = f"/<session-flags>/config.toml:{label}:0:{number}"
            expected[key] = {"trusted_hash": f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"}
    assert hooks["state"] == expected
    assert shlex.split(hooks["SessionStart"][0]["hooks"][1]["command"])[:2] == ["cat", str(note)]


def test_codex_takes_no_flag_twice(tmp_path: Path) -> None:
    begun = start(CodexAssistant(), place(tmp_path), args=("-a", "never", "--sandbox=read-only"))

    assert [word for word in begun.argv if word in ("-a", "-s") or word.startswith("--sandbox")] == [
        "-a",
        "--sandbox=read-only",
    ]


@proves("CLIENT-003")
def test_codex_goes_on_with_a_conversation_that_it_has(tmp_path: Path) -> None:
    here = place(tmp_path, conversation=CONVERSATION)
    before = start(CodexAssistant(), here)
    rollout = tmp_path / "home" / ".codex" / "sessions" / "2026" / "11" / "20"
    rollout.mkdir(parents=True)
    (rollout / f"rollout-2026-11-20T15-23-37-{CONVERSATION}.jsonl").touch()

    after = start(CodexAssistant(), here)

    assert "resume" not in before.argv
    assert after.argv[-2:] == ("resume", CONVERSATION)


# --- Gemini CLI -----------------------------------------------------------------------------------------------


@proves("CLIENT-021")
def test_gemini_keeps_what_the_person_has_configured(tmp_path: Path) -> None:
    theirs = tmp_path / "home" / ".gemini"
    theirs.mkdir(parents=True)
    own = [{"hooks": [{"type": "command", "command": "mine"}]}]
    settings = {
        "mcpServers": {"mine": {"command": "mine"}},
        "hooks": {"BeforeTool": own},
        "ui": {"theme": "x"},
    }
    (theirs / "settings.json").write_text(
        f"// comments are allowed\n{json.dumps(settings)}", encoding="utf-8"
    )
    (theirs / "oauth_creds.json").write_text("login", encoding="utf-8")
    here = place(tmp_path)

    begun = start(GeminiAssistant(), here)

    merged = gemini_settings(here)
    assert set(merged["mcpServers"]) == {"mine", "envmgr"}
    assert merged["hooks"]["BeforeTool"][0] == own[0]
    assert len(merged["hooks"]["BeforeTool"]) == 2
    assert merged["ui"] == {"theme": "x"}
    assert set(merged["hooks"]) == set(GEMINI_HOOKS)
    private = Path(begun.env["GEMINI_CLI_HOME"]) / ".gemini"
    assert (private / "oauth_creds.json").read_text(encoding="utf-8") == "login"
    assert begun.env["GEMINI_CLI_TRUST_WORKSPACE"] == "true"


@proves("HAND-004")
def test_gemini_is_told_what_was_left_for_it_with_its_first_prompt(tmp_path: Path) -> None:
    note = tmp_path / "note.md"
    note.write_text('h-000001 says "go on"', encoding="utf-8")
    here = place(tmp_path, handoff=note)

    start(GeminiAssistant(), here)

    (prompted,) = gemini_settings(here)["hooks"]["BeforeAgent"]
    line = ["/bin/sh", "-c", prompted["hooks"][1]["command"]]
    first, second = [subprocess.run(line, capture_output=True, text=True, check=True) for _ in range(2)]
    told = {"hookEventName": "BeforeAgent", "additionalContext": note.read_text(encoding="utf-8")}
    assert json.loads(first.stdout) == {"hookSpecificOutput": told}
    assert second.stdout == ""
    assert len(gemini_settings(here)["hooks"]["SessionStart"][0]["hooks"]) == 1


@proves("CLIENT-021")
def test_gemini_may_be_prepared_again(tmp_path: Path) -> None:
    here = place(tmp_path)
    start(GeminiAssistant(), here)
    first = gemini_settings(here)

    start(GeminiAssistant(), here)

    assert gemini_settings(here) == first


def test_gemini_uses_a_key_that_it_gets_unless_the_person_logs_in_otherwise(tmp_path: Path) -> None:
    here = place(tmp_path)
    here = replace(here, env={**here.env, "GEMINI_API_KEY": "k"})
    start(GeminiAssistant(), here)
    by_key = gemini_settings(here)["security"]["auth"]["selectedType"]
    theirs = tmp_path / "home" / ".gemini"
    theirs.mkdir()
    login = {"security": {"auth": {"selectedType": "oauth-personal"}}}
    (theirs / "settings.json").write_text(json.dumps(login), encoding="utf-8")

    start(GeminiAssistant(), here)

    assert by_key == "gemini-api-key"
    assert gemini_settings(here)["security"] == login["security"]


@pytest.mark.parametrize("odd", ["[]", "{", "3"])
def test_settings_of_gemini_that_cannot_be_understood_are_told(odd: str, tmp_path: Path) -> None:
    (tmp_path / "home" / ".gemini").mkdir(parents=True)
    (tmp_path / "home" / ".gemini" / "settings.json").write_text(odd, encoding="utf-8")

    with pytest.raises(ConfigError):
        start(GeminiAssistant(), place(tmp_path))


@proves("CLIENT-003")
def test_gemini_begins_a_conversation_under_its_id_and_goes_on_with_it(tmp_path: Path) -> None:
    here = place(tmp_path, conversation=CONVERSATION)
    before = start(GeminiAssistant(), here)
    chats = here.home / "gemini" / ".gemini" / "tmp" / "tree" / "chats"
    chats.mkdir(parents=True)
    (chats / f"session-2026-11-20T15-25-{CONVERSATION[:8]}.jsonl").write_text(
        json.dumps({"sessionId": CONVERSATION}), encoding="utf-8"
    )

    after = start(GeminiAssistant(), here)

    assert before.argv[-2:] == ("--session-id", CONVERSATION)
    assert after.argv[-2:] == ("--resume", CONVERSATION)


# --- opencode -------------------------------------------------------------------------------------------------


@proves("CLIENT-021")
def test_opencode_keeps_what_the_person_has_put_into_its_variable(tmp_path: Path) -> None:
    here = place(tmp_path)
    mine = {"plugin": ["mine"], "mcp": {"mine": {}}, "model": "m", "autoupdate": True}
    here = replace(here, env={**here.env, "OPENCODE_CONFIG_CONTENT": json.dumps(mine)})

    begun = start(OpencodeAssistant(), here, permission_mode="ask")

    config = json.loads(begun.env["OPENCODE_CONFIG_CONTENT"])
    assert config["plugin"] == ["mine", (here.home / "opencode-plugin.js").as_uri()]
    assert set(config["mcp"]) == {"mine", "envmgr"}
    assert (config["model"], config["autoupdate"]) == ("m", True)
    assert config["permission"] == {"edit": "ask", "bash": "ask"}


def test_opencodes_plugin_reports_by_the_agents_own_command(tmp_path: Path) -> None:
    here = place(tmp_path)

    start(OpencodeAssistant(), here)

    assert 'const COMMAND = ["report", "it\'s"]' in (here.home / "opencode-plugin.js").read_text(
        encoding="utf-8"
    )


@proves("CLIENT-003")
def test_opencode_goes_on_with_a_conversation_that_it_has_and_only_then(tmp_path: Path) -> None:
    here = place(tmp_path, conversation="ses_1")
    before = start(OpencodeAssistant(), here)
    data = tmp_path / "home" / ".local" / "share" / "opencode"
    data.mkdir(parents=True)
    with closing(sqlite3.connect(data / "opencode.db")) as database, database:
        database.execute("CREATE TABLE session (id TEXT)")
        database.execute("INSERT INTO session VALUES ('ses_1')")

    after = start(OpencodeAssistant(), here)
    other = start(OpencodeAssistant(), replace(here, conversation="ses_2"))

    assert "--session" not in before.argv
    assert after.argv[-2:] == ("--session", "ses_1")
    assert "--session" not in other.argv
