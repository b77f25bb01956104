"""Variables: what an agent inherits, what env files say, and secrets at the moment they are needed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from envmgr.config.files import read_text
from envmgr.config.problems import BadFile, Mark, Problem
from envmgr.errors import ConfigError
from envmgr.model.spec import AgentSpec, SecretRef, SecretSource

_INHERITED = frozenset(
    {
        *(
            "PATH",
            "HOME",
            "USER",
            "LOGNAME",
            "SHELL",
            "LANG",
            "LANGUAGE",
            "TZ",
            "TMPDIR",
            "SSH_AUTH_SOCK",
            "COLORTERM",
        ),
        *(
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "NO_PROXY",
            "ALL_PROXY",
            "http_proxy",
            "https_proxy",
            "no_proxy",
            "all_proxy",
        ),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"),
    }
)
_INHERITED_FAMILIES = ("LC_", "XDG_")
# Of the person's login, not of an agent that outlives it.
_NOT_INHERITED = frozenset(
    {"XDG_SESSION_ID", "XDG_SEAT", "XDG_VTNR", "XDG_SESSION_CLASS", "XDG_SESSION_TYPE"}
)
_SECRET_BYTES = 64 * 1024
_SECRET_S = 30.0


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of a person's environment that agents get. Everything else is named by the template or stays out."""
    return {
        name: value
        for name, value in environment.items()
        if name in _INHERITED or (name.startswith(_INHERITED_FAMILIES) and name not in _NOT_INHERITED)
    }


_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*")
_QUOTED = re.compile(r"""'([^']*)'\s*(?:#.*)?|"((?:[^"\\]|\\.)*)"\s*(?:#.*)?""")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def read_env_file(path: Path, shown: str) -> dict[str, str]:
    """NAME=value lines: comments, `export`, 'literal' and "escaped" values. Values are taken as they are, without expansion.

    Raises:
        ConfigError: Not there, or a line is none of these.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(read_text(path, shown).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pair = _LINE.fullmatch(line)
        if pair is None:
            problem = Problem(
                mark=Mark(shown, number, 1), message="not a NAME=value line", hint="Comments start with #."
            )
            raise BadFile([problem])
        found[pair[1]] = _value(pair[2], Mark(shown, number, pair.start(2) + 1))
    return found


def _value(text: str, mark: Mark) -> str:
    if text[:1] not in ("'", '"'):
        return re.sub(r"(^|\s+)#.*", "", text)
    quoted = _QUOTED.fullmatch(text)
    if quoted is None:
        raise BadFile(
            [
                Problem(
                    mark=mark,
                    message="the quote is not closed on this line",
                    hint="Close it; write \\n for a line break.",
                )
            ]
        )
    if quoted[1] is not None:
        return quoted[1]
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), quoted[2])


def secrets(spec: AgentSpec, environment: Mapping[str, str], cwd: Path) -> dict[str, str]:
    """Values of the spec's secrets. Blocks (files, commands of up to 30 s each); never log or store the result.

    Args:
        spec: Has the references.
        environment: Variables of the person who spawns.
        cwd: Repository; relative paths and commands start there.

    Raises:
        ConfigError: A secret has no value; the message names it, never a value.
    """
    return {ref.name: _secret(ref, environment, cwd) for ref in spec.secrets}


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
