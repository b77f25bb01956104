"""`spawn` and its options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import Host, git, host
from tests.support.requirements import proves
from tests.support.untouched import untouched
from tests.support.wait import eventually

# An assistant that writes what it is told into its worktree.
_LISTENER = """\
envmgr: 1
params: {greeting: {default: hello}}
agent:
  kind: command
  command: echo ${params.greeting} > greeting; exec cat > heard
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with host() as here:
        here.template("listener", _LISTENER)
        here.sleeper()
        here.ok("daemon", "start")
        yield here


def worktree(here: Host, name: str) -> Path:
    return Path(here.agent(name)["worktree"])


@proves("CLI-020")
def test_spawn_tells_each_step_and_ends_with_how_to_attach(shared: Host) -> None:
    ran = shared.ok("spawn", "-t", "listener", "--name", "teller")

    assert ran.out == "teller runs  attach: envmgr attach teller\n"
    assert "teller: accepted" in ran.err
    for step in ("worktree", "session", "environment", "assistant", "readiness"):
        assert f"teller: {step} started" in ran.err
        assert f"teller: {step} finished" in ran.err


@proves("CLI-021")
def test_spawn_for_programs_prints_one_object_per_line(shared: Host) -> None:
    first, *steps, last = shared.ok("spawn", "-t", "sleeper", "--json").lines

    assert first["kind"] == "accepted"
    assert {item["kind"] for item in steps} == {"step"}
    assert last["kind"] == "done"
    assert last["agent"]["lifecycle"] == "running"
    assert last["agent"]["name"] == first["name"]


@proves("CLI-022")
def test_a_dry_run_prints_the_plan_and_changes_nothing(shared: Host) -> None:
    agents = sorted(shared.agents())
    with untouched(shared):
        text = shared.ok("spawn", "-t", "web", "--name", "maybe", "--dry-run").out
        plan = shared.ok("spawn", "-t", "web", "--name", "maybe", "--dry-run", "--json").json["plan"]

    assert sorted(shared.agents()) == agents
    assert "would spawn maybe from template web" in text
    assert plan["branch"] == "agent/maybe"
    assert plan["services"] == ["web (process)"]
    assert not Path(plan["worktree"]).exists()


@proves("CLI-022")
def test_a_dry_run_tells_images_volumes_and_replicas(shared: Host) -> None:
    shared.template(
        "full",
        """\
envmgr: 1
services:
  db: {image: "postgres:16", volumes: ["pgdata:/data", "./conf:/conf"], scope: shared}
  cache: {image: "redis:7", pull: never, volumes: ["keys:/data"]}
  api: {build: ./api, replicas: 3, volumes: ["keys:/keys:ro", "other:/other:ro"], depends_on: {cache: started}}
  web: {command: exec sleep 1000}
volumes:
  keys: {seed: {script: "true"}}
  other: {seed: {snapshot: golden}}
agent: {kind: command, command: [sleep, "1000"]}
""",
    )
    plan = shared.ok("spawn", "-t", "full", "--name", "maybe", "--dry-run", "--json").json["plan"]

    assert plan["services"] == [
        "db (container, shared by all agents)",
        "cache (container)",
        "api (container, 3 replicas) after cache started",
        "web (process)",
    ]
    assert plan["images"] == [
        "postgres:16 (pulled if it is missing)",
        "redis:7 (never pulled)",
        "api (built from ./api)",
    ]
    assert plan["volumes"] == [
        "pgdata: all agents', for db",
        "keys: the agent's own, for cache, api, filled by a script",
        "other: the agent's own, for api, filled from snapshot golden",
    ]


@proves("CLI-023")
def test_several_agents_of_one_call_are_numbered_and_apart(shared: Host) -> None:
    ran = shared.ok("spawn", "-t", "web", "--name", "trio", "-n", "3")
    agents = [shared.agent(f"trio-{n}") for n in (1, 2, 3)]

    assert len(ran.out.splitlines()) == 3
    assert {agent["lifecycle"] for agent in agents} == {"running"}
    assert len({agent["worktree"] for agent in agents}) == 3
    assert len({agent["branch"] for agent in agents}) == 3
    assert len({agent["services"][0]["ports"]["http"] for agent in agents}) == 3


@proves("CLI-024")
def test_without_a_name_the_template_names_the_agent(shared: Host) -> None:
    names = [shared.ok("spawn", "-t", "listener", "--json").lines[0]["name"] for _ in range(2)]

    assert names == ["listener-1", "listener-2"]


@proves("CLI-025")
def test_no_wait_returns_while_the_agent_comes_up(shared: Host) -> None:
    ran = shared.ok("spawn", "-t", "listener", "--name", "later", "--no-wait", "--json")

    assert [item["kind"] for item in ran.lines] == ["accepted"]
    assert ran.json["agent"]["lifecycle"] == "spawning"
    eventually(lambda: shared.agent("later")["lifecycle"] == "running")


@proves("CLI-026")
def test_a_param_reaches_the_command_as_one_word_of_data(shared: Host) -> None:
    words = "a  b; touch pwned $(touch pwned) 'q' \"d\" --x=y"
    shared.ok("spawn", "-t", "listener", "--name", "param", "-p", f"greeting={words}")
    greeting = worktree(shared, "param") / "greeting"

    eventually(lambda: greeting.read_text() == f"{words}\n")
    assert not list(worktree(shared, "param").glob("pwned"))
    assert "pwned" not in [p.name for p in shared.repo.iterdir()]


@proves("CLI-027")
@pytest.mark.parametrize("way", ["--prompt", "--prompt-file", "stdin", "file-stdin"])
def test_the_first_prompt_comes_from_an_option_a_file_or_standard_input(
    shared: Host, way: str, tmp_path: Path
) -> None:
    prompt = f"do: 'this' and $HOME by {way}; äöü ✓"
    (tmp_path / "prompt.txt").write_text(prompt, encoding="utf-8")
    args = {
        "--prompt": ["--prompt", prompt],
        "--prompt-file": ["--prompt-file", str(tmp_path / "prompt.txt")],
        "stdin": ["--prompt", "-"],
        "file-stdin": ["--prompt-file", "-"],
    }[way]
    name = f"by-{way.strip('-')}"

    shared.ok("spawn", "-t", "listener", "--name", name, *args, stdin=prompt)

    eventually(lambda: (worktree(shared, name) / "heard").read_text(encoding="utf-8") == prompt + "\n")


@proves("CLI-028")
def test_a_huge_prompt_arrives_whole(shared: Host, tmp_path: Path) -> None:
    prompt = "".join(f"line {n}: {'x' * 80}\n" for n in range(2300))
    assert len(prompt) > 200_000
    (tmp_path / "huge.txt").write_text(prompt)

    shared.ok("spawn", "-t", "listener", "--name", "huge", "--prompt-file", str(tmp_path / "huge.txt"))

    heard = worktree(shared, "huge") / "heard"
    eventually(lambda: heard.read_text().rstrip("\n") == prompt.rstrip("\n"), within_s=20)


@proves("CLI-029")
def test_base_and_branch_choose_where_work_begins_and_what_it_is_called(shared: Host) -> None:
    first = git(shared.repo, "rev-parse", "HEAD").strip()
    git(shared.repo, "tag", "v1")
    (shared.repo / "second.txt").write_text("second\n")
    git(shared.repo, "add", "second.txt")
    git(shared.repo, "commit", "-q", "-m", "second")

    shared.ok("spawn", "-t", "listener", "--name", "old", "--base", "v1", "--branch", "fix/from-v1")
    shared.ok("spawn", "-t", "listener", "--name", "new")

    assert git(worktree(shared, "old"), "rev-parse", "HEAD").strip() == first
    assert git(worktree(shared, "old"), "branch", "--show-current").strip() == "fix/from-v1"
    assert not (worktree(shared, "old") / "second.txt").exists()
    assert (worktree(shared, "new") / "second.txt").read_text() == "second\n"
    assert git(worktree(shared, "new"), "branch", "--show-current").strip() == "agent/new"


@proves("CLI-030")
def test_a_template_may_be_given_by_its_path(shared: Host, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "envmgr: 1\nagent:\n  kind: command\n  command: [sleep, '1000']\n", encoding="utf-8"
    )

    ran = shared.ok("spawn", "-t", str(tmp_path / "mine.yaml"), "--json")

    assert re.fullmatch(r"mine-\d+", ran.lines[-1]["name"])
