"""Show a spawn as it happens: live lines on a terminal, plain ones elsewhere, JSON for programs."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any, Self

from envmgr.app import client
from envmgr.errors import EnvmgrError, from_problem

# Any: items are JSON.
Items = Callable[[], Iterator[dict[str, Any]]]
_INTERRUPTED = 130


def spawn(items: Items, *, count: int, as_json: bool) -> int:
    """Print progress and results of `count` agents; Ctrl-C takes back what is under way. Returns the exit status."""
    pending: dict[str, str] = {}
    failures: list[EnvmgrError] = []
    show = _as_json if as_json else _live if sys.stderr.isatty() and sys.stdout.isatty() else _plain
    try:
        with _Patience(count) as patience:
            for item in show(items()):
                name = item["name"]
                if item["kind"] == "accepted":
                    pending[name] = item["agent"]["id"]
                if item["kind"] == "accepted" or (item["kind"] == "failed" and name not in pending):
                    patience.known()
                if item["kind"] in ("done", "failed"):
                    pending.pop(name, None)
                if item["kind"] == "failed":
                    failures.append(from_problem(item["problem"]))
    except KeyboardInterrupt:
        return _take_back(pending)
    for error in failures if not as_json else []:
        print(f"error: {error.message}\nhint:  {error.hint}", file=sys.stderr)
    return failures[0].exit if failures else 0


class _Patience:
    """Holds Ctrl-C back until the daemon has told which agents it accepted: only what is known can be taken back.

    A second Ctrl-C counts at once.
    """

    def __init__(self, awaited: int) -> None:
        self._awaited = awaited
        self._was_pressed = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _press(self, *_: object) -> None:
        if self._was_pressed or not self._awaited:
            raise KeyboardInterrupt
        self._was_pressed = True

    def known(self) -> None:
        """One more agent was accepted or refused."""
        self._awaited -= 1
        if self._was_pressed and not self._awaited:
            raise KeyboardInterrupt


def _take_back(pending: dict[str, str]) -> int:
    """Stop and remove what this command had begun; what set-up and services wrote meanwhile is kept as a snapshot."""
    if pending:
        print(f"\ntaking back {', '.join(pending)} ...", file=sys.stderr)
        client.request("POST", "/api/v1/agents/stop", {"agents": list(pending.values())}).body()
        for name, agent in pending.items():
            client.request("POST", "/api/v1/agents/rm", {"agents": [agent], "discard": name}).body()
        print("taken back; nothing is left", file=sys.stderr)
    return _INTERRUPTED


def _as_json(items: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in items:
        print(json.dumps(item), flush=True)
        yield item


def _plain(items: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in items:
        if item["kind"] in ("step", "service"):
            detail = f": {item['detail']}" if item["detail"] else ""
            print(f"{item['name']}: {item['step']} {item['state']}{detail}", file=sys.stderr, flush=True)
        elif item["kind"] == "done":
            print(_result(item["agent"]), flush=True)
        elif item["kind"] == "accepted":
            print(f"{item['name']}: accepted", file=sys.stderr, flush=True)
        yield item


def _result(agent: dict[str, Any]) -> str:
    urls = [url for service in agent["services"] for url in service["urls"]]
    where = f" {' '.join(urls)}" if urls else ""
    return f"{agent['name']} runs{where}  attach: envmgr attach {agent['name']}"


def _live(items: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One line per agent while steps run. rich is imported after the request was sent, while the daemon works."""
    first = next(items, None)
    if first is None:
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    lines: dict[str, str] = {}
    console = Console(stderr=True, no_color=bool(os.environ.get("NO_COLOR")))
    results = []
    with Live(console=console, refresh_per_second=12, transient=True) as live:
        for item in _chain(first, items):
            if item["kind"] in ("step", "service") and item["state"] != "undone":
                mark = "✓" if item["state"] in ("finished", "ready", "done") else "◌"
                lines[item["name"]] = f"{mark} {item['step']} {item['state']} {item['detail']}"
            elif item["kind"] == "done":
                lines.pop(item["name"], None)
                results.append(_result(item["agent"]))
                console.print(Text(f"● {results[-1]}"))
            live.update(Text("\n".join(f"  {name}  {line}" for name, line in lines.items())))
            yield item


def _chain(first: dict[str, Any], rest: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield first
    yield from rest
