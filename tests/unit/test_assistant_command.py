from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from envmgr.assistants.command import CommandAssistant
from envmgr.errors import ConfigError, Unavailable
from envmgr.model.spec import AssistantSpec
from envmgr.protocols.assistant import Place, Report
from tests.support.requirements import proves

PATH = {"PATH": "/usr/bin:/bin"}


def output_of(spec: AssistantSpec, folder: Path, env: Mapping[str, str] = PATH) -> str:
    place = Place(worktree=folder, home=folder, env=env, hook_command=())
    start = CommandAssistant().prepare(spec, place)
    whole = {**env, **start.env}
    return subprocess.run(
        start.argv, env=whole, cwd=folder, capture_output=True, text=True, check=True
    ).stdout


@proves("ASSIST-001")
def test_a_list_is_run_word_by_word(tmp_path: Path) -> None:
    spec = AssistantSpec(command=("printf", "%s|", "a b", "$HOME"), args=("*",))

    assert output_of(spec, tmp_path) == "a b|$HOME|*|"


@proves("ASSIST-001")
def test_a_string_is_run_by_the_shell(tmp_path: Path) -> None:
    spec = AssistantSpec(command="cd / && printf '%s|' \"$PWD\" $WHO")

    assert output_of(spec, tmp_path, {**PATH, "WHO": "me"}) == "/|me|"


@proves("ASSIST-001")
def test_arguments_reach_the_last_program_of_a_string_unsplit(tmp_path: Path) -> None:
    spec = AssistantSpec(command="true; printf '%s|'", args=("a b", "$HOME"))

    assert output_of(spec, tmp_path) == "a b|$HOME|"


@proves("ASSIST-001")
def test_a_plain_string_leaves_no_shell_behind(tmp_path: Path) -> None:
    spec = AssistantSpec(command="cat /proc/self/stat")

    with subprocess.Popen(
        CommandAssistant()
        .prepare(spec, Place(worktree=tmp_path, home=tmp_path, env=PATH, hook_command=()))
        .argv,
        env=PATH,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        said = process.communicate()[0]

    assert said.split()[0] == str(process.pid)


@proves("ASSIST-002")
@pytest.mark.parametrize("command", [("no-such-agent", "--go"), "no-such-agent --go"])
def test_a_missing_program_is_named_before_anything_starts(command: str | tuple[str, ...]) -> None:
    with pytest.raises(Unavailable) as caught:
        CommandAssistant().check(AssistantSpec(command=command), PATH)

    assert caught.value.message == "no-such-agent was not found"
    assert "Install no-such-agent" in caught.value.hint


@proves("ASSIST-002")
def test_the_program_is_looked_for_on_the_agents_own_path(tmp_path: Path) -> None:
    program = tmp_path / "my-agent"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)

    found = CommandAssistant().check(AssistantSpec(command=("my-agent",)), {"PATH": str(tmp_path)})

    assert found == str(program)


@pytest.mark.parametrize(
    "command", ["exec agent", "X=1 agent", "if true; then agent; fi", "$AGENT --go", "./agent"]
)
def test_what_only_the_shell_or_the_worktree_can_tell_is_not_refused(command: str) -> None:
    assert CommandAssistant().check(AssistantSpec(command=command), {"PATH": "/nowhere"}) in {
        "/bin/sh",
        "./agent",
    }


def test_an_empty_command_is_a_mistake_in_the_template() -> None:
    with pytest.raises(ConfigError):
        CommandAssistant().check(AssistantSpec(command=""), PATH)


def test_a_command_claims_nothing_about_its_activity() -> None:
    assistant = CommandAssistant()

    assert assistant.understand("Stop", {}) == Report(activity=None, detail="Stop")
    assert assistant.read_screen("Do you want to proceed?\nEsc to cancel") == Report(activity=None, detail="")
    assert not assistant.reports
