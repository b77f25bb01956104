"""A PostgreSQL of the bench's own, with its usual durable settings, and a work queue in it as one is usually made."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

_SCHEMA = """
CREATE TABLE task (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    type text NOT NULL,
    priority int NOT NULL,
    status text NOT NULL DEFAULT 'ready',
    description text NOT NULL,
    holder text,
    claimed_at timestamptz,
    ended_at timestamptz
);
CREATE INDEX task_ready ON task (priority, id) WHERE status = 'ready';
"""
_CLAIM = """
UPDATE task SET status = 'claimed', holder = %s, claimed_at = now() WHERE id = (
    SELECT id FROM task WHERE status = 'ready' ORDER BY priority, id FOR UPDATE SKIP LOCKED LIMIT 1
) RETURNING id, description
"""
_COMPLETE = (
    "UPDATE task SET status = 'done', ended_at = now() WHERE id = %s AND holder = %s AND status = 'claimed'"
)


@contextmanager
def cluster(tasks: int) -> Iterator[str]:
    """How to connect to a fresh one with so many tasks; it is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="eb-", dir="/tmp"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    data = folder / "data"
    _run("initdb", "-D", str(data), "-U", "bench", "--auth=trust")
    _run(
        "pg_ctl",
        "-D",
        str(data),
        "-w",
        "-l",
        str(folder / "log"),
        "-o",
        f"-c listen_addresses= -k {folder}",
        "start",
    )
    try:
        where = f"host={folder} user=bench dbname=postgres"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute(_SCHEMA)
            connection.execute(
                "INSERT INTO task (type, priority, description)"
                " SELECT 'fix', 1 + n %% 10, 'task ' || n FROM generate_series(1, %s) n",
                (tasks,),
            )
            connection.execute("VACUUM ANALYZE task")
        yield where
    finally:
        _run("pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def _run(name: str, *args: str) -> None:
    """As the user that Debian's package has made: the server refuses to be run by root."""
    done = subprocess.run(
        [*_user(), str(_program(name)), *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, cwd="/", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def _user() -> Sequence[str]:
    return ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups") if os.geteuid() == 0 else ()


def _program(name: str) -> Path:
    """Debian keeps them beside each other, by version."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    on_path = shutil.which(name)
    return found[-1] if found else Path(on_path or name)


class Worker:
    """One connection."""

    def __init__(self, where: str, name: str) -> None:
        self._connection = psycopg.connect(where, autocommit=True, prepare_threshold=0)
        self._name = name

    def claim_and_complete(self) -> int:
        """Do one task; returns which. The server answers each step when it is on disk."""
        found = self._connection.execute(_CLAIM, (self._name,)).fetchone()
        assert found is not None, "there are enough tasks"
        done = self._connection.execute(_COMPLETE, (found[0], self._name))
        assert done.rowcount == 1
        return int(found[0])
