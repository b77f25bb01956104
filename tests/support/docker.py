"""The real container engine for tests: its images, a look at the truth, and a check that nothing stays behind."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from envmgr.drivers.docker import DockerEngine
from envmgr.model.ids import LABEL_INSTANCE, InstanceId
from envmgr.protocols.engine import ContainerLaunch
from tests.support.wait import eventually

BASE = "envmgr-test/base"
"""Debian with the servers of the others; runs `sh`, has `busybox`."""
POSTGRES = "envmgr-test/postgres"
"""Port 5432, POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB, data in /var/lib/postgresql/data; ready within a second."""
REDIS = "envmgr-test/redis"
"""Port 6379, data in /data."""
WEB = "envmgr-test/web"
"""Port 80, or $PORT; serves its working directory (/www), has /cgi-bin/env, ends at once on TERM."""
WEB_CHECKED = "envmgr-test/web-checked"
"""The same with a HEALTHCHECK: sick while /tmp/sick exists."""


@cache
def engine() -> Any:  # the SDK ships no types
    """The SDK's own client (`docker.DockerClient`), to see what is really there. A missing engine fails the test."""
    import docker

    return docker.from_env(timeout=30)


def own_labels(**more: str) -> dict[str, str]:
    """Labels of an instance that only this test uses."""
    return {LABEL_INSTANCE: f"test-{uuid.uuid4().hex[:12]}", **more}


@dataclass(frozen=True)
class Ours:
    """The driver under test with labels of its own; `name` makes names that no other test uses."""

    engine: DockerEngine
    labels: dict[str, str]

    def name(self, what: str = "one") -> str:
        """Unique on the engine."""
        return f"{self.labels[LABEL_INSTANCE]}-{what}"

    def launch(self, *command: str, image: str = BASE, what: str = "one", **more: Any) -> ContainerLaunch:
        """A launch with our labels; without words the image's own command."""
        return ContainerLaunch(
            name=self.name(what), image=image, labels=self.labels, command=command or None, **more
        )


@contextmanager
def ours(host: str = "", *, deadline_s: float = 20.0) -> Iterator[Ours]:
    """The driver on the real engine; what it made must be gone on leaving."""
    labels = own_labels()
    driver = DockerEngine(instance=InstanceId(labels[LABEL_INSTANCE]), host=host, deadline_s=deadline_s)
    try:
        if host:  # an engine that ends with the test
            yield Ours(driver, labels)
        else:
            with nothing_in_engine(labels):
                yield Ours(driver, labels)
    finally:
        driver.close()


def existing(labels: Mapping[str, str]) -> list[str]:
    """Containers, networks, volumes and images with all these labels, such as `container: web`."""
    wanted = {"label": [f"{name}={value}" if value else name for name, value in labels.items()]}
    client = engine().api
    return [
        *(f"container: {each['Names'][0][1:]}" for each in client.containers(all=True, filters=wanted)),
        *(f"network: {each['Name']}" for each in client.networks(filters=wanted)),
        *(f"volume: {each['Name']}" for each in client.volumes(filters=wanted)["Volumes"] or []),
        *(f"image: {_tag(each)}" for each in client.images(filters=wanted)),
    ]


def _tag(image: Mapping[str, Any]) -> str:
    tag: str = (image["RepoTags"] or [""])[0]
    return tag if tag not in ("", "<none>:<none>") else image["Id"]


@contextmanager
def nothing_in_engine(labels: Mapping[str, str], *, grace_s: float = 5.0) -> Iterator[None]:
    """Check on leaving that nothing with these labels is left; removes and names what is.

    Raises:
        AssertionError: Something was still there after `grace_s`.
    """
    try:
        yield
    except BaseException:
        clear(labels)  # what went wrong in the test is the news
        raise
    try:
        eventually(lambda: not existing(labels), within_s=grace_s, every_s=0.1)
    except AssertionError:
        left = existing(labels)
        clear(labels)
        raise AssertionError(f"left in the engine: {left}") from None


def clear(labels: Mapping[str, str]) -> None:
    """Remove everything with these labels."""
    for each in existing(labels):
        kind, _, name = each.partition(": ")
        remove(kind, name)


def remove(kind: str, name: str) -> None:
    """Remove a container (killed if it runs), network, volume or image, whoever uses it; fine if it is gone."""
    import docker.errors

    client = engine().api
    with suppress(docker.errors.APIError):
        match kind:
            case "container":
                client.remove_container(name, force=True, v=True)
            case "network":
                client.remove_network(name)
            case "volume":
                client.remove_volume(name, force=True)
            case _:
                client.remove_image(name, force=True)
