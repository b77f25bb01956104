"""What agents begin themselves in the container engine is theirs: shown, and gone with them, whatever it is called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from envmgr.testing.audit import Finding, audit
from tests.support.docker import BASE, engine, remove
from tests.support.engine_proxy import ENGINE, door
from tests.support.host import Host, host
from tests.support.requirements import proves

PROJECT = "com.docker.compose.project"


@pytest.fixture
def here() -> Iterator[Host]:
    with host() as made:
        made.sleeper()
        made.ok("spawn", "-t", "sleeper", "--name", "otter")
        yield made


@pytest.fixture
def spare() -> Iterator[list[tuple[str, str]]]:
    """(kind, name) of what must be there until the test is over, and not after it."""
    things: list[tuple[str, str]] = []
    yield things
    for kind, name in things:
        remove(kind, name)


def inside(here: Host, line: str, agent: str = "otter") -> str:
    """Run a line as the agent would."""
    return here.ok("exec", agent, "--", "sh", "-c", line).out.strip()


def compose(here: Host, *, agent: str = "otter", more: str = "") -> str:
    """What `docker compose up` does: all it makes carries the project's label. Returns the container's id."""
    label = f"--label {PROJECT}=$COMPOSE_PROJECT_NAME {more}"
    return inside(
        here,
        f"docker network create {label} ${{COMPOSE_PROJECT_NAME}}_default >&2"
        f" && docker volume create {label} ${{COMPOSE_PROJECT_NAME}}_data >&2"
        f" && docker run -d --init {label} --network ${{COMPOSE_PROJECT_NAME}}_default"
        f" -v ${{COMPOSE_PROJECT_NAME}}_data:/data {BASE} sleep 600",
        agent,
    )


def begun(here: Host, agent: str = "otter") -> list[tuple[str, str]]:
    return [(one["kind"], one["name"]) for one in here.agent(agent)["begun"]]


def find(container: str) -> Any:
    """The container, or None."""
    import docker.errors

    try:
        return engine().containers.get(container)
    except docker.errors.NotFound:
        return None


def project(here: Host, agent: str = "otter") -> str:
    return f"envmgr-{here.agents()[agent]['id']}"


@proves("BEGUN-001", "R-34")
def test_each_agent_has_a_compose_project_of_its_own_that_no_template_and_no_renaming_changes(
    here: Host,
) -> None:
    here.template(
        "other", "envmgr: 1\nname: other\nagent:\n  kind: command\n  command: [sleep, '1000']\n"
        "  env: {COMPOSE_PROJECT_NAME: mine}\n"
    )  # fmt: skip
    here.ok("spawn", "-t", "other", "--name", "beaver")
    names = {agent: inside(here, "echo $COMPOSE_PROJECT_NAME", agent) for agent in ("otter", "beaver")}
    assert names == {agent: project(here, agent) for agent in names}
    assert len(set(names.values())) == 2


@proves("BEGUN-002", "R-33")
def test_what_compose_made_is_shown_and_goes_with_the_stop_and_its_volume_with_the_agent(here: Host) -> None:
    name = project(here)
    made = compose(here)
    find(made).rename(f"somebody-{made[:8]}")
    assert begun(here) == [
        ("container", f"somebody-{made[:8]}"), ("network", f"{name}_default"), ("volume", f"{name}_data"),
    ]  # fmt: skip
    assert "started by the agent" in here.ok("show", "otter").out
    assert f"started by the agent: container somebody-{made[:8]}" in here.run("doctor").out
    assert Finding(kind="container", what=f"somebody-{made[:8]} (running)") in audit(here.state)

    here.ok("stop", "otter")
    assert find(made) is None
    assert begun(here) == [("volume", f"{name}_data")]
    assert engine().networks.list(names=[f"{name}_default"]) == []

    here.ok("rm", "otter", "--yes")
    assert engine().volumes.list(filters={"name": f"{name}_data"}) == []


@proves("BEGUN-002", "R-33")
def test_a_container_that_mounts_the_worktree_is_the_agents_whatever_its_name_and_project(here: Host) -> None:
    made = inside(here, f"docker run -d --init -v $PWD:/x --label {PROJECT}=shop {BASE} sleep 600")
    below = inside(
        here, f"mkdir -p deep && docker run -d --init -v $PWD/deep:/x --restart always {BASE} sleep 600"
    )
    find(made).rename(f"api-{made[:8]}")
    here.ok("stop", "otter")
    assert (find(made), find(below)) == (None, None)


@proves("BEGUN-003", "R-33")
def test_what_only_looks_similar_is_never_touched(here: Host, spare: list[tuple[str, str]]) -> None:
    here.ok("spawn", "-t", "sleeper", "--name", "beaver")
    worktree = here.agents()["otter"]["worktree"]
    client = engine().containers

    def run(**how: Any) -> str:
        made = client.run(BASE, ["sleep", "600"], detach=True, init=True, **how).id
        spare.append(("container", made))
        return str(made)

    others = {
        "same beginning of the project": run(labels={PROJECT: project(here) + "-2"}),
        "only called like it": run(name=f"{project(here)}-web-1"),
        "mounts the folder above": run(volumes=[f"{here.state}/worktrees:/x"]),
        "mounts a sibling": run(volumes=[f"{worktree}2:/x"]),
        "mounts the main checkout": run(volumes=[f"{here.repo}:/x"]),
        "another agent's that looks into the worktree": run(
            labels={PROJECT: project(here, "beaver")}, volumes=[f"{worktree}:/x:ro"]
        ),
    }
    here.ok("stop", "otter")
    assert [why for why, made in others.items() if find(made) is None] == []

    here.ok("stop", "beaver")
    assert find(others["another agent's that looks into the worktree"]) is None


@proves("BEGUN-004")
def test_what_is_to_be_kept_is_reported_and_stays(here: Host, spare: list[tuple[str, str]]) -> None:
    name = project(here)
    made = compose(here, more="--label envmgr.keep=true")
    spare += [("container", made), ("network", f"{name}_default"), ("volume", f"{name}_data")]
    assert [(one["kind"], one["kept"]) for one in here.agent("otter")["begun"]] == [("container", True)]
    here.ok("stop", "otter")
    assert find(made).status == "running"
    assert "(kept)" in here.run("doctor").out
    here.ok("rm", "otter", "--yes")
    assert find(made).status == "running"
    assert engine().volumes.get(f"{name}_data")


@proves("BEGUN-005", "R-33")
def test_an_engine_that_gives_no_answer_is_not_an_empty_one(tmp_path: Any) -> None:
    with door(tmp_path / "d") as way, host(DOCKER_HOST=way.url, ENVMGR_DOCKER__DEADLINE_S="2") as here:
        here.sleeper()
        here.ok("spawn", "-t", "sleeper", "--name", "otter")
        made = inside(here, f"DOCKER_HOST={ENGINE} docker run -d --init -v $PWD:/x {BASE} sleep 600")
        way.jam()
        failed = here.run("stop", "otter")
        assert failed.code != 0
        assert "cannot be seen" in failed.err
        assert find(made).status == "running"
        way.clear()
        here.ok("stop", "otter")
        assert find(made) is None


@proves("BEGUN-006")
def test_what_comes_back_with_an_engine_that_was_down_is_removed_then(tmp_path: Any) -> None:
    from tests.support.wait import eventually

    with door(tmp_path / "d") as way, host(DOCKER_HOST=way.url) as here:
        here.sleeper()
        here.ok("spawn", "-t", "sleeper", "--name", "otter")
        made = inside(here, f"DOCKER_HOST={ENGINE} docker run -d --init -v $PWD:/x {BASE} sleep 600")
        way.shut()
        here.ok("stop", "otter")
        assert find(made).status == "running"
        way.open()
        eventually(lambda: find(made) is None, within_s=20)


@proves("BEGUN-007")
def test_what_a_failed_spawn_began_is_taken_back(here: Host) -> None:
    line = f"docker run -d --init -v $PWD:/x -l begun-by={here.state.parent.name} {BASE} sleep 600; exit 3"
    here.template(
        "broken",
        "envmgr: 1\nname: broken\nworkspace:\n  setup:\n    - " + repr(line)
        + "\nagent:\n  kind: command\n  command: [sleep, '1000']\n",
    )  # fmt: skip
    assert here.run("spawn", "-t", "broken", "--name", "beaver").code != 0
    wanted = {"label": f"begun-by={here.state.parent.name}"}
    assert engine().containers.list(all=True, filters=wanted) == []
