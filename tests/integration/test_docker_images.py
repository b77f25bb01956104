"""Images: pulled as the policy says, built from a worktree, refused with reasons."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from envmgr.errors import ConfigError, Unavailable
from envmgr.model.container import BuildSpec, PullPolicy
from tests.support.docker import BASE, Ours, engine, remove
from tests.support.registry import registry
from tests.support.requirements import proves

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def shelf() -> Iterator[str]:
    with registry() as address:
        yield address
        remove("image", f"{address}/hello:1")


@proves("DOCK-014")
async def test_an_image_that_is_there_is_not_pulled(ours: Ours) -> None:
    told: list[str] = []

    identity = await ours.engine.image(BASE, pull=PullPolicy.MISSING, tell=told.append)

    assert identity == engine().api.inspect_image(BASE)["Id"]
    assert told == []


@proves("DOCK-014")
async def test_a_missing_image_is_pulled_with_progress_and_only_once(ours: Ours, shelf: str) -> None:
    told: list[str] = []

    first = await ours.engine.image(f"{shelf}/hello:1", pull=PullPolicy.MISSING, tell=told.append)
    known = len(told)
    second = await ours.engine.image(f"{shelf}/hello:1", pull=PullPolicy.MISSING, tell=told.append)
    again = await ours.engine.image(f"{shelf}/hello:1", pull=PullPolicy.ALWAYS, tell=told.append)

    assert first == second == again
    assert "1: Pulling from hello" in told[:known]
    assert any(line.endswith("Pull complete") for line in told[:known])
    assert len(told) > known


@proves("DOCK-014")
async def test_a_missing_image_that_must_not_be_pulled_is_refused(ours: Ours, shelf: str) -> None:
    with pytest.raises(ConfigError, match="not to be pulled"):
        await ours.engine.image(f"{shelf}/hello:none", pull=PullPolicy.NEVER)


@proves("DOCK-014")
@pytest.mark.parametrize("name", ["hello:2", "nobody:1", "private:1"])
async def test_what_the_registry_does_not_give_is_the_template_s_mistake(
    ours: Ours, shelf: str, name: str
) -> None:
    with pytest.raises(ConfigError, match=f"{name} cannot be pulled") as refused:
        await ours.engine.image(f"{shelf}/{name}", pull=PullPolicy.MISSING)

    assert "docker login" in refused.value.hint


@proves("DOCK-014")
async def test_a_registry_that_cannot_be_reached_is_another_matter(ours: Ours) -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        await ours.engine.image("127.0.0.1:1/hello:1", pull=PullPolicy.MISSING)


@proves("DOCK-014")
async def test_a_pull_can_be_cancelled(ours: Ours, shelf: str) -> None:
    began_at = time.monotonic()

    with anyio.move_on_after(0.5):
        await ours.engine.image(f"{shelf}/slow:1", pull=PullPolicy.MISSING)

    assert time.monotonic() - began_at < 5


@proves("DOCK-015")
async def test_an_image_is_built_from_the_worktree_without_what_is_ignored(
    ours: Ours, tmp_path: Path
) -> None:
    app = tmp_path / "app"
    (app / "secret").mkdir(parents=True)
    (app / "secret" / "key").write_text("hidden", encoding="utf-8")
    (app / "page").write_text("hello", encoding="utf-8")
    (app / ".dockerignore").write_text("# no keys\nsecret\n", encoding="utf-8")
    (app / "Dockerfile.dev").write_text(
        f"FROM {BASE} AS first\nARG GREETING\nCOPY . /app\n"
        "RUN echo $GREETING >/greeting\nFROM first AS second\nRUN false\n",
        encoding="utf-8",
    )
    told: list[str] = []
    build = BuildSpec(context="app", dockerfile="Dockerfile.dev", target="first", args={"GREETING": "salut"})

    identity = await ours.engine.build(
        ours.name(), build, root=tmp_path, labels=ours.labels, tell=told.append
    )

    container = await ours.engine.run(ours.launch("sleep", "60", image=ours.name(), what="built"))
    _, said = await ours.engine.execute(
        container.id, ["sh", "-c", "cat /greeting; ls -A /app"], deadline_s=10
    )
    assert said.split() == ["salut", ".dockerignore", "Dockerfile.dev", "page"]
    assert identity == engine().api.inspect_image(ours.name())["Id"]
    assert any(line.startswith("Step 1/") for line in told)
    await ours.engine.remove_image(ours.name())  # in use, so it stays
    assert engine().api.inspect_image(ours.name())["Id"] == identity
    await ours.engine.remove(container.id)
    await ours.engine.remove_image(ours.name())
    await ours.engine.remove_image(ours.name())


@proves("DOCK-015")
async def test_a_build_that_fails_shows_the_end_of_its_output(ours: Ours, tmp_path: Path) -> None:
    text = f"FROM {BASE}\nRUN echo about to fail; exit 7\n"
    (tmp_path / "Dockerfile").write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError, match="could not be built.* code: 7") as failed:
        await ours.engine.build(ours.name(), BuildSpec(), root=tmp_path, labels=ours.labels)

    output = failed.value.details["output"]
    assert isinstance(output, list)
    assert "about to fail" in output


@proves("DOCK-015")
@pytest.mark.parametrize(
    ("text", "words"),
    [("", "Dockerfile"), ("NONSENSE x\n", "NONSENSE"), (f"FROM {BASE}\nCOPY nothing /\n", "nothing")],
    ids=["empty", "unknown instruction", "missing file"],
)
async def test_a_dockerfile_that_makes_no_sense_is_refused(
    ours: Ours, tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "Dockerfile").write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError, match=words):
        await ours.engine.build(ours.name(), BuildSpec(), root=tmp_path, labels=ours.labels)


@proves("DOCK-015")
async def test_a_missing_dockerfile_is_named(ours: Ours, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no Dockerfile in"):
        await ours.engine.build(ours.name(), BuildSpec(), root=tmp_path, labels=ours.labels)
