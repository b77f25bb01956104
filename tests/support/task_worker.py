"""An agent that works off the queue: `task_worker.py FOLDER`. It writes what it does to FOLDER/log, a line each.

A task with `hold` in its input is worked on until FOLDER/go exists.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from envmgr.app import client
from envmgr.errors import EnvmgrError

_PAUSE_S = 0.05


def main(folder: Path) -> None:
    """Until it is ended."""
    while True:
        task = _ask("claim", {})
        if task is None or not task["success"]:
            time.sleep(_PAUSE_S)
            continue
        claimed = {"task_id": task["task_id"], "lease_token": task["lease_token"]}
        _log(folder, "begin", claimed)
        while task["input_data"].get("hold") and not (folder / "go").exists():
            time.sleep(_PAUSE_S)
        answer = _ask("complete", {**claimed, "success": True, "result": {"by": os.getpid()}})
        ended = {"ok": answer["ok"], "reason": answer["reason"]} if answer else {"ok": None}
        _log(folder, "end", {**claimed, **ended})


def _ask(what: str, body: dict[str, Any]) -> Any:
    """None when the daemon did not answer."""
    try:
        return json.loads(client.request("POST", f"/api/v1/work/{what}", body).body())
    except EnvmgrError:
        return None


def _log(folder: Path, what: str, said: dict[str, Any]) -> None:
    line = json.dumps({"what": what, "agent": os.environ["ENVMGR_AGENT_NAME"], "pid": os.getpid(), **said})
    fd = os.open(folder / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, line.encode() + b"\n")
    os.close(fd)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
