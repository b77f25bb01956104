from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from envmgr.config.templates.environment import Secrets, secrets
from envmgr.config.variables import read_env_file
from envmgr.errors import ConfigError
from envmgr.model.spec import AgentSpec, SecretRef, SecretSource
from tests.support.requirements import proves
from tests.support.templates import HEAD, WHOLE, Desk
from tests.support.wait import eventually


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def spec_with(source: SecretSource, key: str) -> AgentSpec:
    return AgentSpec(
        template="t", source="t", repo="/", name="a", secrets=(SecretRef(name="S", source=source, key=key),)
    )


def test_secrets_come_from_variables_files_and_commands(tmp_path: Path) -> None:
    (tmp_path / "cert").write_text("line 1\nline 2\n", encoding="utf-8")
    (tmp_path / ".env").write_text("A=1\nS='in file'\n", encoding="utf-8")

    found = {
        (source, key): secrets(spec_with(source, key), {"V": "value"}, tmp_path)["S"]
        for source, key in (
            (SecretSource.ENV, "V"),
            (SecretSource.FILE, "cert"),
            (SecretSource.FILE, ".env#S"),
            (SecretSource.COMMAND, "echo $V; echo more"),
        )
    }

    assert list(found.values()) == ["value", "line 1\nline 2", "in file", "value\nmore"]


@pytest.mark.parametrize(
    ("source", "key", "message"),
    [
        (SecretSource.ENV, "NOT", "secret S: variable NOT is not set"),
        (SecretSource.FILE, "gone", "secret S: gone cannot be read: No such file or directory"),
        (SecretSource.FILE, ".env#S", "secret S: .env has no line for S"),
        (SecretSource.COMMAND, "echo hidden; exit 3", "secret S: its command ended with 3"),
        (SecretSource.COMMAND, "true", "secret S: its command printed nothing"),
    ],
)
@proves("TMPL-013")
def test_a_secret_without_value_is_told_without_telling_it(
    tmp_path: Path, source: SecretSource, key: str, message: str
) -> None:
    (tmp_path / ".env").write_text("A=hidden\n", encoding="utf-8")

    with pytest.raises(ConfigError) as caught:
        secrets(spec_with(source, key), {}, tmp_path)

    assert caught.value.message == message
    assert "hidden" not in caught.value.message


def test_what_a_secrets_command_leaves_behind_is_ended(tmp_path: Path) -> None:
    command = "sleep 60 >/dev/null & echo $!"

    pid = secrets(spec_with(SecretSource.COMMAND, command), {"PATH": "/bin:/usr/bin"}, tmp_path)["S"]

    eventually(
        lambda: not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE
    )


@proves("TMPL-014")
def test_no_secret_value_enters_the_spec(desk: Desk) -> None:
    (desk.repo / ".env").write_text("API_KEY=swordfish\nMODE=dev\n", encoding="utf-8")
    (desk.repo / "web.env").write_text("WEB_TOKEN=swordfish\nDEBUG=a$b\n", encoding="utf-8")
    text = (
        HEAD
        + """\
env_file: .env
secrets: {DB_PASSWORD: {from: env, name: MY_DB}}
services: {web: {command: x, env_file: [web.env], env: {URL: "pg://${secrets.DB_PASSWORD}"}}}
agent: {}
"""
    )

    spec = desk.spec(text, env={"MY_DB": "swordfish", "PATH": "/bin"})

    assert "swordfish" not in repr(spec)
    assert spec.env == {"PATH": "/bin", "MODE": "dev"}
    assert spec.services[0].env == {
        "URL": "pg://${secrets.DB_PASSWORD}", "DEBUG": "a$$b", "WEB_TOKEN": "${secrets.WEB_TOKEN}",
    }  # fmt: skip
    assert secrets(spec, {"MY_DB": "m"}, desk.repo) == {
        "API_KEY": "swordfish",
        "WEB_TOKEN": "swordfish",
        "DB_PASSWORD": "m",
    }


def test_own_variables_come_after_those_of_files(desk: Desk) -> None:
    (desk.repo / "a.env").write_text("A=file\nB=file\n", encoding="utf-8")
    text = (
        HEAD
        + "env_file: a.env\nenv: {B: own}\nservices: {s: {command: x, env_file: a.env, env: {A: own}}}\nagent: {}\n"
    )

    spec = desk.spec(text)

    assert (spec.env, spec.services[0].env) == ({"A": "file", "B": "own"}, {"A": "own", "B": "file"})


def test_an_env_file_that_is_not_there_is_told_at_the_line_that_names_it(desk: Desk) -> None:
    with pytest.raises(ConfigError, match=r"t\.yaml:3:11: env file \.env does not exist"):
        desk.spec(WHOLE + "env_file: .env\n")


def test_an_env_file_is_read_as_written(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(
        '# comment\n\nexport A=1\nB = two words # comment\nC=\'$x #1\'\nD="a\\n\\"b\\"" # c\nE=\nF=a#b\n',
        encoding="utf-8",
    )

    found = read_env_file(path, ".env")

    assert found == {"A": "1", "B": "two words", "C": "$x #1", "D": 'a\n"b"', "E": "", "F": "a#b"}


@pytest.mark.parametrize(("text", "place"), [("A=1\nnonsense\n", ".env:2:1"), ("A='open\n", ".env:1:3")])
def test_a_broken_line_of_an_env_file_has_a_place(tmp_path: Path, text: str, place: str) -> None:
    path = tmp_path / ".env"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError, match=place):
        read_env_file(path, ".env")


@proves("TMPL-040")
def test_what_a_command_gave_is_used_again_for_as_long_as_it_may(tmp_path: Path) -> None:
    moment = 100.0
    remembered = Secrets(lambda: moment)
    ref = SecretRef(
        name="S", source=SecretSource.COMMAND, key="echo $V; echo x >> runs; wc -l < runs", ttl_s=10
    )
    spec = replace(spec_with(SecretSource.COMMAND, ""), secrets=(ref,))

    def value(who: str) -> str:
        return remembered.of(spec, {"V": who}, tmp_path)["S"].replace("\n", " ")

    first, other = [value("me"), value("me")], value("you")
    moment += 9.9
    later = value("me")
    moment += 0.1

    assert [*first, other, later, value("me")] == ["me 1", "me 1", "you 2", "me 1", "me 3"]


@proves("TMPL-040")
def test_agents_that_ask_at_once_run_the_command_once(tmp_path: Path) -> None:
    remembered = Secrets()
    ref = SecretRef(
        name="S", source=SecretSource.COMMAND, key="echo x >> runs; sleep 0.2; wc -l < runs", ttl_s=60
    )
    spec = replace(spec_with(SecretSource.COMMAND, ""), secrets=(ref,))

    with ThreadPoolExecutor(8) as askers:
        found = list(askers.map(lambda _: remembered.of(spec, {}, tmp_path)["S"], range(8)))

    assert found == ["1"] * 8


@proves("TMPL-040")
def test_without_a_time_a_command_runs_each_time_and_a_failure_is_never_remembered(tmp_path: Path) -> None:
    remembered = Secrets()
    always = spec_with(SecretSource.COMMAND, "echo x >> runs; wc -l < runs")
    ref = SecretRef(name="S", source=SecretSource.COMMAND, key="test -e there && echo yes", ttl_s=60)
    sometimes = replace(always, secrets=(ref,))

    assert [remembered.of(always, {}, tmp_path)["S"] for _ in range(2)] == ["1", "2"]
    with pytest.raises(ConfigError):
        remembered.of(sometimes, {}, tmp_path)
    (tmp_path / "there").touch()
    assert remembered.of(sometimes, {}, tmp_path)["S"] == "yes"
