"""A container engine that a test may stop, freeze and start again: a dockerd of its own, beside the one that all share."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.docker import BASE, engine
from tests.support.wait import eventually

TINY = "tiny"
"""The only image there: busybox, which is all the programs it has."""

# busybox with the libraries it needs, so that the engine need not be given the whole base image. Logs hold no raw bytes.
_PACK = "tar -ch -C / usr/bin/busybox $(ldd /usr/bin/busybox | grep -o '/[^ ]*') | base64"


class OwnEngine:
    """A dockerd with folders and a socket of its own. It touches no bridge and no firewall, so its containers have no network."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.host = f"unix://{folder}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        folder = self._folder
        settings = folder / "daemon.json"
        settings.write_text(json.dumps({"bridge": "none", "iptables": False}), encoding="utf-8")
        words = ["--config-file", settings, "--host", self.host, "--data-root", folder / "data"]
        words += ["--exec-root", folder / "exec", "--pidfile", folder / "pid"]
        words += ["--containerd-namespace", "envmgr-test", "--containerd-plugins-namespace", "envmgr-test-p"]
        with (folder / "log").open("ab") as log:
            # In a network of its own: without a bridge dockerd would delete docker0, whosever that is.
            self._process = subprocess.Popen(
                ["unshare", "--net", "dockerd", *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        eventually(self._answers, within_s=30, every_s=0.05)

    def stop(self) -> None:
        """End it, and with it its containers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)  # unlike os.kill, fine when it has ended
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def kill(self) -> None:
        """SIGKILL: nothing is tidied up, and containers go on."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)
        self._process = None
        # Its containerd died with it, but may stay a zombie where pid 1 reaps none, and the next dockerd took it for alive.
        (self._folder / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It accepts connections and answers nothing while the block runs."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)

    def load(self) -> None:
        """Put the tiny image into it."""
        container = engine().api.create_container(BASE, ["sh", "-c", _PACK], network_disabled=True)["Id"]
        try:
            engine().api.start(container)
            engine().api.wait(container)
            packed = engine().api.logs(container, stdout=True, stderr=False)
        finally:
            engine().api.remove_container(container, force=True)
        archive = self._folder / "tiny.tar"
        archive.write_bytes(base64.b64decode(packed))
        client = self._client()
        client.import_image_from_file(
            str(archive), repository=TINY, changes=['ENTRYPOINT ["/usr/bin/busybox"]']
        )
        client.close()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text(encoding="utf-8")[-3000:]
        asked = ["docker", "--host", self.host, "version"]
        return subprocess.run(asked, capture_output=True, timeout=30, check=False).returncode == 0

    def _client(self) -> Any:  # the SDK ships no types
        import docker

        return docker.APIClient(base_url=self.host, version="auto", timeout=10)


@contextmanager
def own_engine() -> Iterator[OwnEngine]:
    """A running engine with the tiny image; ended and deleted on leaving."""
    folder = Path(tempfile.mkdtemp(prefix="ed-"))  # short: it holds sockets
    here = OwnEngine(folder)
    try:
        here.start()
        here.load()
        yield here
    finally:
        here.stop()
        _unmount(folder)
        shutil.rmtree(folder)


def _unmount(folder: Path) -> None:
    """What an engine that was killed has left mounted."""
    lines = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    for place in [line.split()[1] for line in reversed(lines)]:
        if Path(place).is_relative_to(folder):
            subprocess.run(["umount", "--lazy", place], check=True)
