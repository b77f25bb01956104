"""Secrets at the moment they are needed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from envmgr.aio import oom
from envmgr.config.variables import read_env_file
from envmgr.errors import ConfigError
from envmgr.model.spec import AgentSpec, SecretRef, SecretSource

_SECRET_BYTES = 64 * 1024
_SECRET_S = 30.0


class Secrets:
    """Fetches secrets, and remembers what commands gave for as long as they allow: in memory, never elsewhere."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}

    def of(self, spec: AgentSpec, environment: Mapping[str, str], cwd: Path) -> dict[str, str]:
        """Values of the spec's secrets. Blocks (files, commands of up to 30 s each); never log or store the result.

        Args:
            spec: Has the references.
            environment: Variables of the person who spawns.
            cwd: Repository; relative paths and commands start there.

        Raises:
            ConfigError: A secret has no value; the message names it, never a value.
        """
        return {ref.name: self._value(ref, environment, cwd) for ref in spec.secrets}

    def _value(self, ref: SecretRef, environment: Mapping[str, str], cwd: Path) -> str:
        if not ref.ttl_s:
            return _secret(ref, environment, cwd)
        known = self._slot(ref, environment, cwd)
        with known.lock:  # who asks meanwhile waits, instead of running the command once more
            now = self._now()
            if known.value is None or now >= min(known.until, known.since + ref.ttl_s):
                known.value = _secret(ref, environment, cwd)
                known.since, known.until = now, now + ref.ttl_s
            return known.value

    def _slot(self, ref: SecretRef, environment: Mapping[str, str], cwd: Path) -> _Known:
        """The same command may give another value to another person, so their variables count."""
        asked = repr((ref.key, str(cwd), sorted(environment.items())))
        key = hashlib.sha256(asked.encode("utf-8", "surrogateescape")).hexdigest()
        with self._lock:
            now = self._now()
            self._known = {k: one for k, one in self._known.items() if now < one.until or one.lock.locked()}
            return self._known.setdefault(key, _Known(until=now + ref.ttl_s))


@dataclass(slots=True)
class _Known:
    """A value and how long it counts."""

    until: float
    since: float = 0.0
    value: str | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


def secrets(spec: AgentSpec, environment: Mapping[str, str], cwd: Path) -> dict[str, str]:
    """Values of the spec's secrets, all fetched now; see `Secrets.of`."""
    return Secrets().of(spec, environment, cwd)


def _secret(ref: SecretRef, environment: Mapping[str, str], cwd: Path) -> str:
    match ref.source:
        case SecretSource.ENV:
            if not environment.get(ref.key):
                raise ConfigError(
                    f"secret {ref.name}: variable {ref.key} is not set",
                    hint=f"Export {ref.key}, then spawn again.",
                )
            value = environment[ref.key]
        case SecretSource.FILE:
            value = _from_file(ref, cwd)
        case SecretSource.COMMAND:
            value = _from_command(ref, environment, cwd)
    if "\0" in value:
        raise ConfigError(f"secret {ref.name} holds a NUL character", hint="A variable cannot carry that.")
    return value


def entry_of(file: str, name: str) -> str:
    """Key of a secret that is one line of an env file."""
    return f"{file}#{name}"


def _from_file(ref: SecretRef, cwd: Path) -> str:
    file, _, entry = ref.key.partition("#")
    path = cwd / Path(ref.key).expanduser()
    if entry and not path.exists():
        found = read_env_file(cwd / Path(file).expanduser(), file)
        if entry in found:
            return found[entry]
        raise ConfigError(
            f"secret {ref.name}: {file} has no line for {entry}", hint="Add it, then spawn again."
        )
    try:
        with path.open("rb") as stream:
            return stream.read(_SECRET_BYTES).decode("utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigError(
            f"secret {ref.name}: {ref.key} cannot be read: {why}", hint="Check the path and its mode."
        ) from error


def _from_command(ref: SecretRef, environment: Mapping[str, str], cwd: Path) -> str:
    hint = f"Run it yourself to see why: {ref.key}"
    try:
        process = subprocess.Popen(  # its output is the secret, so nothing of it may be shown
            ["/bin/sh", "-c", ref.key],
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        oom.release(process.pid)
    except OSError as error:
        raise ConfigError(
            f"secret {ref.name}: its command cannot start: {error.strerror}", hint=hint
        ) from error
    try:
        output, _ = process.communicate(timeout=_SECRET_S)
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"secret {ref.name}: its command took more than {_SECRET_S:.0f} s", hint=hint
        ) from error
    finally:
        _end(process)
    if process.returncode != 0:
        raise ConfigError(f"secret {ref.name}: its command ended with {process.returncode}", hint=hint)
    value = output.decode("utf-8", errors="replace").rstrip("\r\n")
    if not value:
        raise ConfigError(f"secret {ref.name}: its command printed nothing", hint=hint)
    return value


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing of the command outlives it, whatever it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()
