"""`envmgr` is found inside of agents wherever it was installed, and hides nothing of theirs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from envmgr.bootstrap.own_command import own_command
from envmgr.model.container import ContainerSpec
from envmgr.model.service import ServiceKind, ServiceSpec
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.rendering import assistant_env, service_env
from tests.support.incarnations import incarnation
from tests.support.requirements import proves

_PLAIN = "/usr/bin:/bin"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    state = tmp_path / "it's $HOME"
    state.mkdir()
    made = own_command(state, sys.executable)
    assert made is not None
    return made


def _with(inc: Incarnation, folder: Path | None, **env: str) -> Incarnation:
    return replace(inc, systems=replace(inc.systems, command_folder=folder), spec=replace(inc.spec, env=env))


def _shell(env: dict[str, str], line: str, *, cwd: Path) -> str:
    done = subprocess.run(["sh", "-c", line], env=env, cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.anyio
@proves("CLIENT-013")
async def test_an_agent_finds_envmgr_and_still_its_own_python(tmp_path: Path, folder: Path) -> None:
    trap = tmp_path / "trap"
    (trap / "envmgr").mkdir(parents=True)
    for name in ("json.py", "envmgr/__init__.py", "envmgr/__main__.py"):
        (trap / name).write_text("raise SystemExit('trapped')\n", encoding="utf-8")

    async with incarnation(tmp_path) as inc:
        env = assistant_env(_with(inc, folder, PATH=_PLAIN), {})

    assert _shell(env, "envmgr --version", cwd=trap).endswith(version("envmgr"))
    assert _shell(env, "command -v python3 || true", cwd=trap) == _shell(
        {"PATH": _PLAIN}, "command -v python3 || true", cwd=trap
    )
    assert [one.name for one in folder.iterdir()] == ["envmgr"]
    assert json.loads(_shell(env, "envmgr daemon status --json", cwd=trap))["state_dir"] == str(folder.parent)


@pytest.mark.anyio
@proves("CLIENT-013")
async def test_an_envmgr_of_the_persons_own_goes_before(tmp_path: Path, folder: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "envmgr").write_text("#!/bin/sh\necho theirs\n", encoding="utf-8")
    (theirs / "envmgr").chmod(0o700)

    async with incarnation(tmp_path) as inc:
        # as it is when an agent spawns another one
        env = assistant_env(_with(inc, folder, PATH=f"{folder}:{theirs}:{_PLAIN}"), {})

    assert env["PATH"] == f"{theirs}:{_PLAIN}:{folder}"
    assert _shell(env, "envmgr", cwd=tmp_path) == "theirs"


@pytest.mark.anyio
@proves("CLIENT-013")
async def test_services_of_the_host_find_it_whatever_path_they_are_given_and_containers_do_not(
    tmp_path: Path, folder: Path
) -> None:
    plain = ServiceSpec(name="plain", kind=ServiceKind.PROCESS, command=("true",), env={"PATH": "/opt/bin"})
    inside = ServiceSpec(
        name="inside", kind=ServiceKind.PROCESS, command=("true",), container=ContainerSpec(image="busybox")
    )

    async with incarnation(tmp_path, plain, inside) as inc:
        with_it, without = _with(inc, folder), _with(inc, None, PATH=_PLAIN)
        assert service_env(with_it, plain, {})["PATH"] == f"/opt/bin:{folder}"
        assert "PATH" not in service_env(with_it, inside, {})
        assert assistant_env(with_it, {})["PATH"].endswith(f":{folder}")
        assert assistant_env(without, {})["PATH"] == _PLAIN


@proves("CLIENT-013")
def test_a_state_folder_that_cannot_be_written_to_costs_the_command_only(tmp_path: Path) -> None:
    (tmp_path / "bin").write_text("in the way", encoding="utf-8")

    assert own_command(tmp_path, sys.executable) is None


@proves("CLIENT-013")
def test_the_command_is_that_of_the_daemon_that_runs_now(tmp_path: Path) -> None:
    own_command(tmp_path, "/old/python")
    folder = own_command(tmp_path, "/new/python")

    assert folder is not None
    text = (folder / "envmgr").read_text(encoding="utf-8")
    assert ("/new/python -P" in text, "/old/python" in text) == (True, False)
