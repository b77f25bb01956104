"""Things of an agent that is no more, made as a crash would leave them."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import docker
from tests.support.host import Host, git
from tests.support.survive import query

GONE = "deadbeef"
"""Id of an agent that this host never had."""


@dataclass
class Leftovers:
    """Makes them; whatever is still there in the end goes."""

    host: Host
    instance: str
    _children: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    _things: list[tuple[str, str]] = field(default_factory=list)

    def process(
        self, cwd: Path, *, agent: str = GONE, instance: str = "", words: tuple[str, ...] = ("sleep", "600")
    ) -> int:
        """A process that carries a marker; in a session of its own, as after the death of its keeper."""
        cwd.mkdir(parents=True, exist_ok=True)
        env = {
            "PATH": os.environ["PATH"],
            "ENVMGR_INSTANCE": instance or self.instance,
            "ENVMGR_AGENT": agent,
        }
        env |= {key: value for key, value in os.environ.items() if key == "ENVMGR_TEST_MARK"}
        child = subprocess.Popen(
            words,
            cwd=cwd,
            env=env,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        self._children[child.pid] = child
        return child.pid

    def is_alive(self, pid: int) -> bool:
        """Whether it has not been ended."""
        return self._children[pid].poll() is None

    def labels(self, *, agent: str = GONE, instance: str = "", **more: str) -> dict[str, str]:
        """As envmgr labels what it makes."""
        return {
            "envmgr.instance": instance or self.instance, "envmgr.agent": agent, "envmgr.generation": "1",
            "envmgr.state": str(self.host.state), **{f"envmgr.{key}": value for key, value in more.items()},
        }  # fmt: skip

    def container(self, labels: Mapping[str, str], *, network: str = "") -> str:
        """One that runs; its name."""
        name = f"reap-{uuid.uuid4().hex[:8]}"
        more = {"network": network} if network else {}
        docker.engine().containers.run(
            docker.BASE, ["sleep", "600"], detach=True, init=True, name=name, labels=dict(labels), **more
        )
        self._things.append(("container", name))
        return name

    def network(self, labels: Mapping[str, str]) -> str:
        """Its name."""
        name = f"reap-{uuid.uuid4().hex[:8]}"
        docker.engine().networks.create(name, labels=dict(labels))
        self._things.append(("network", name))
        return name

    def volume(self, labels: Mapping[str, str]) -> str:
        """Its name."""
        name = f"reap-{uuid.uuid4().hex[:8]}"
        docker.engine().volumes.create(name, labels=dict(labels))
        self._things.append(("volume", name))
        return name

    def image(self, labels: Mapping[str, str], *, name: str) -> None:
        """An empty one."""
        changes = [f"LABEL {key}={value}" for key, value in labels.items()]
        docker.engine().api.import_image_from_data(b"\0" * 10240, repository=name, changes=changes)
        self._things.append(("image", name))

    def session(self, name: str, *, agent: str = GONE, instance: str = "") -> None:
        """A session on the host's terminal server."""
        owner = f"{instance or self.instance}/{agent}/1"
        socket = str(self.host.state / "tmux.sock")
        subprocess.run(
            ["tmux", "-N", "-S", socket, "new-session", "-d", "-s", name, "-c", "/", "sleep 600", ";",
             "set-option", "@envmgr-owner", owner],
            check=True, capture_output=True, timeout=20,
        )  # fmt: skip

    def worktree(self, name: str, *, agent: str = GONE, instance: str = "") -> Path:
        """A worktree with git's lock of that owner."""
        place = self.host.state / "worktrees" / "repo-00000000" / name
        base = git(self.host.repo, "rev-parse", "HEAD").strip()
        owner = f"{instance or self.instance}/{agent}"
        git(self.host.repo, "worktree", "add", "-q", "-b", f"agent/{name}", str(place), "HEAD")
        git(self.host.repo, "worktree", "lock", "--reason", f"envmgr {owner} {base} agent/{name}", str(place))
        return place

    def end(self) -> None:
        """Take away what is left."""
        for child in self._children.values():
            child.kill()
            child.wait()
        for kind, name in self._things:
            docker.remove(kind, name)


@contextmanager
def leftovers(host: Host) -> Iterator[Leftovers]:
    """Of this host, whose daemon has run."""
    ((instance,),) = query(host, "SELECT value FROM setting WHERE key = 'instance'")
    made = Leftovers(host, instance)
    try:
        yield made
    finally:
        made.end()


def exists(kind: str, name: str) -> bool:
    """Whether the engine has it."""
    from docker.errors import NotFound

    client = docker.engine().api
    look = {
        "container": client.inspect_container,
        "network": client.inspect_network,
        "volume": client.inspect_volume,
    }
    try:
        look[kind](name)
    except NotFound:
        return False
    return True
