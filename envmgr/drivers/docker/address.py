"""Where the container engine is reached: a setting, `DOCKER_HOST`, or one of the usual sockets."""

from __future__ import annotations

import os
import shutil
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from envmgr.errors import ConfigError

SYSTEM_SOCKET = "/var/run/docker.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An engine's address.

    Attributes:
        url: As the SDK takes it.
        socket: Path of its Unix socket; empty for TCP.
        certificates: Folder with `ca.pem`, `cert.pem` and `key.pem`; empty without TLS.
        source: Who says so.
    """

    url: str
    socket: str = ""
    host: str = ""
    port: int = 0
    certificates: str = ""
    source: str = field(default="", compare=False)

    @property
    def described(self) -> str:
        """`unix:///var/run/docker.sock (DOCKER_HOST)`, for people."""
        return f"{self.url} ({self.source})" if self.source else self.url

    def variables(self) -> dict[str, str]:
        """What makes docker's own command line use this engine."""
        if not self.certificates:
            return {"DOCKER_HOST": self.url}
        url = f"tcp://{self.url.partition('://')[2]}"
        return {"DOCKER_HOST": url, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": self.certificates}

    def tls(self) -> ssl.SSLContext | None:
        """For a stream of our own; None without TLS. Reads the certificates, so it blocks."""
        if not self.certificates:
            return None
        folder = Path(self.certificates)
        context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        context.load_cert_chain(str(folder / "cert.pem"), str(folder / "key.pem"))
        return context


def given(host: str = "", *, environ: Mapping[str, str] = os.environ) -> Address | None:
    """The address that `host`, else `DOCKER_HOST`, names; None when neither names one.

    Raises:
        ConfigError: An address of a kind that cannot be used, such as ssh.
    """
    url = host or environ.get("DOCKER_HOST", "")
    if not url:
        return None
    source = "docker.host of the settings" if host else "DOCKER_HOST"
    parts = urlsplit(url)
    match parts.scheme:
        case "unix" if parts.path:
            return Address(url=f"unix://{parts.path}", socket=parts.path, source=source)
        case "tcp" | "http" | "https" if parts.hostname:
            found = _remote(parts.hostname, parts.port, environ, is_https=parts.scheme == "https")
            return replace(found, source=source)
    raise ConfigError(
        f"the container engine's address {url!r} cannot be used",
        hint="Set `docker.host` or DOCKER_HOST to unix://PATH or tcp://HOST:PORT.",
    )


def usual(environ: Mapping[str, str] = os.environ, *, system: str = SYSTEM_SOCKET) -> Address | None:
    """The first that exists of the sockets of the system, of a rootless engine and of Docker Desktop. Blocks.

    None when there is none, nor an engine or its command line. docker's contexts are not read.
    """
    home, run = environ.get("HOME", ""), environ.get("XDG_RUNTIME_DIR", "")
    places = [
        system,
        f"{run}/docker.sock" if run else "",
        f"{home}/.docker/run/docker.sock" if home else "",
    ]
    path = next((each for each in places if each and Path(each).exists()), "")
    if not path and not (shutil.which("dockerd") or shutil.which("docker")):
        return None
    return Address(url=f"unix://{path or system}", socket=path or system, source="the usual socket")


def _remote(host: str, port: int | None, environ: Mapping[str, str], *, is_https: bool) -> Address:
    is_verified = bool(environ.get("DOCKER_TLS_VERIFY")) or is_https
    folder = environ.get("DOCKER_CERT_PATH") or str(Path(environ.get("HOME", "/")) / ".docker")
    port = port or (2376 if is_verified else 2375)
    name = f"[{host}]" if ":" in host else host
    return Address(
        url=f"{'https' if is_verified else 'tcp'}://{name}:{port}",
        host=host,
        port=port,
        certificates=folder if is_verified else "",
    )
