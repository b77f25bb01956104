"""Run the scripted model API for a test."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.wait import eventually


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedModel:
    """A running server: its base URL and its log."""

    url: str
    log: Path

    # Any: it is JSON.
    def requests(self) -> list[Any]:
        """Everything it was asked so far; not what is just being written."""
        whole, _, _ = self.log.read_text(encoding="utf-8").rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]


@contextmanager
def scripted_model(folder: Path, *, delay_s: float = 0.01) -> Iterator[ScriptedModel]:
    """Serve on a free port while inside; log and ready file are put into `folder`."""
    log, ready = folder / "model.jsonl", folder / "model.url"
    command = [sys.executable, "-m", "envmgr.testing.model_server", "--port", "0", "--delay", str(delay_s)]
    process = subprocess.Popen([*command, "--log", str(log), "--ready-file", str(ready)])
    try:
        eventually(lambda: ready.exists() or process.poll() is not None)
        assert process.poll() is None, "the scripted model ended at once"
        yield ScriptedModel(url=ready.read_text(encoding="utf-8"), log=log)
    finally:
        process.terminate()
        process.wait(timeout=10)
