"""The audit sees what is really in the container engine, whatever any record says."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from threading import Thread

import pytest

from envmgr.model.ids import LABEL_INSTANCE, LABEL_STATE
from envmgr.testing.audit import Finding, audit
from tests.support.docker import BASE, engine, nothing_in_engine, own_labels, remove
from tests.support.requirements import proves


@pytest.fixture
def labels(tmp_path: Path) -> Iterator[dict[str, str]]:
    ours = own_labels(**{LABEL_STATE: str(tmp_path / "state")})
    with nothing_in_engine(ours):
        yield ours


@proves("AUDIT-003")
def test_containers_networks_and_volumes_of_a_state_directory_are_found(
    tmp_path: Path, labels: dict[str, str]
) -> None:
    name, client = labels[LABEL_INSTANCE], engine().api
    client.create_container(BASE, ["sh"], name=name, labels=labels)
    client.create_network(name, labels=labels)
    client.create_volume(name, labels=labels)

    found = audit(tmp_path)
    of_others = audit(tmp_path / "stat", tmp_path / "state-2")
    client.remove_container(name)
    client.remove_network(name)
    client.remove_volume(name)

    assert found == [
        Finding(kind="container", what=f"{name} (created)"),
        Finding(kind="network", what=name),
        Finding(kind="volume", what=name),
    ]
    assert of_others == []
    assert audit(tmp_path) == []


@proves("AUDIT-003")
def test_an_image_that_lost_its_tag_to_a_later_build_is_named_by_its_id(
    tmp_path: Path, labels: dict[str, str]
) -> None:
    recipe = BytesIO(f"FROM {BASE}\n".encode())
    list(engine().api.build(fileobj=recipe, labels=labels, rm=True))

    (found,) = audit(tmp_path)
    remove(found.kind, found.what)

    assert found.what.startswith("sha256:")
    assert audit(tmp_path) == []


@proves("AUDIT-003")
def test_an_engine_that_does_not_answer_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{mute.getsockname()[1]}")
        hanging_up = Thread(target=lambda: mute.accept()[0].close())
        hanging_up.start()

        (finding,) = audit(tmp_path)
        hanging_up.join()

    assert finding.kind == "unknown"
    assert "the container engine did not answer" in finding.what


@proves("AUDIT-003")
def test_a_host_without_an_engine_has_nothing_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")

    assert audit(tmp_path) == []


@proves("AUDIT-002")
def test_a_test_that_leaves_a_container_fails_and_the_container_is_removed() -> None:
    labels = own_labels()

    def careless() -> None:
        with nothing_in_engine(labels, grace_s=0.1):
            engine().api.create_container(BASE, ["sh"], name=labels[LABEL_INSTANCE], labels=labels)

    with pytest.raises(AssertionError, match=r"left in the engine: \['container: test-"):
        careless()

    with nothing_in_engine(labels, grace_s=0):
        pass
