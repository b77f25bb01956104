"""The agent's private folder and the file that people source to work in its environment."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from envmgr.aio import blocking
from envmgr.runtime import rendering
from envmgr.runtime.incarnation import GIT_RUNS, Incarnation
from envmgr.runtime.saga import Receipt, Step

# Who reads the file stays the part of the agent that it is; a person's shell becomes a person's.
_PART = 'export ENVMGR_PART="${ENVMGR_PART:-person}"\n'


class WriteEnvironment(Step):
    """Step: `home/env`, mode 0600, without secret values."""

    name = "environment"

    def __init__(self, inc: Incarnation) -> None:
        self._inc = inc

    async def do(self) -> Receipt:
        """Write it. A missing secret or assistant stops the spawn here, before services start."""
        inc = self._inc
        await inc.until_made(GIT_RUNS)
        await inc.secrets()
        path = await blocking.act("file", write_env, inc)
        inc.has_made(self.name)
        return {"env_file": str(path)}

    async def undo(self, receipt: Receipt | None) -> None:
        """Delete the folder's files except the logs of a service that has something to say."""
        await forget_files(self._inc)


async def forget_files(inc: Incarnation) -> None:
    """Delete what was written for this generation; logs and configuration stay."""

    def forget() -> None:
        for name in ("env", "gate", "start.sh", "start.env", "tools.listed"):
            (inc.home / name).unlink(missing_ok=True)

    await blocking.act("file", forget)


def public_env(inc: Incarnation) -> dict[str, str]:
    """What `envmgr env` shows: everything, with secrets masked."""
    secrets = {ref.name: "********" for ref in inc.spec.secrets}
    return rendering.assistant_env(inc, secrets)


def write_env(inc: Incarnation) -> Path:
    """Write the file that people source; again when a service has moved to another port."""
    inc.assistant.check(inc.spec.assistant, public_env(inc))
    inc.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = inc.home / "env"
    env = public_env(inc)
    del env["ENVMGR_PART"]
    write_private(path, export_lines(env) + _PART)
    return path


def export_lines(env: Mapping[str, str]) -> str:
    """`export K='v'` for a POSIX shell; names that are no shell variables are left out."""
    return "".join(f"export {k}={shlex.quote(v)}\n" for k, v in sorted(env.items()) if k.isidentifier())


def write_private(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Write a file that only its owner can read; nobody reads it before the step is done, so in place."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)


def clear_home(inc: Incarnation) -> None:
    """Delete the agent's private folder with its logs; used when the agent is removed."""
    shutil.rmtree(inc.home, ignore_errors=True)
