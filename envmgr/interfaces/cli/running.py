"""Run one operation: in this process or at the daemon, then print or finish it here."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import sys
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from envmgr.app import client
from envmgr.errors import EnvmgrError, UsageError, from_problem
from envmgr.interfaces.cli import finishing, from_here, task_file, watching
from envmgr.interfaces.cli.fast import terminal

# Any throughout: entries of the manifest and results are JSON.


def run(entry: Mapping[str, Any], given: dict[str, Any]) -> int:
    """Run the operation of a manifest entry with what the person gave; returns the exit status."""
    as_json = given.pop("as_json")
    if given.get("discard"):
        _refuse_many_discards()
    if entry["touch"] == "destroy":
        _confirm(entry, given.pop("yes"), given)
    asked = _ask(entry, given)
    if entry["name"] == "lock.overlaps" and (pairs := _pairs(asked["targets"])) is not None:
        from envmgr.interfaces.cli.pairing import answer_lines  # as below

        return answer_lines(pairs, sys.stdout)
    plan = None
    if entry["name"] == "task.submit":
        entry, asked, plan = task_file.batch(entry, asked)
    if entry["local"]:
        from envmgr.interfaces.cli.local import run_here  # imports pydantic and all: only for these commands

        return run_here(entry["name"], asked, as_json=as_json, style=terminal())
    if entry["name"] in ("agent.spawn", "agent.fork") and not asked.get("dry_run"):
        return watching.spawn(lambda: _lines(entry, asked), count=asked["count"], as_json=as_json)
    finish = finishing.FINISHERS.get(entry["name"])
    if finish is not None and not as_json:
        return finish(_json(entry, asked), asked)
    try:
        status = _print(entry, asked, as_json=as_json)
    except EnvmgrError as error:
        raise plan.placed(error) if plan else error from None
    if entry["name"] == "down":
        client.await_end()
    return status


def _pairs(targets: Sequence[str]) -> Iterable[str] | None:
    """Lines to be read: `-` says so, and input that is there when nothing else is said."""
    if targets == ["-"]:
        return sys.stdin
    read: list[str] = []
    for line in () if targets or sys.stdin.isatty() else sys.stdin:
        read.append(line)
        if line.strip():
            return itertools.chain(read, sys.stdin)
    return None


def _ask(entry: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The operation's fields: what was given, and what this process supplies."""
    asked = {key: list(value) if isinstance(value, tuple) else value for key, value in given.items()}
    if entry["name"] == "agent.exec":
        asked |= _passed_on(asked["command"])
    supply: dict[str, Callable[[], object]] = {"cwd": os.getcwd, "environment": lambda: dict(os.environ)}
    for p in entry["params"]:
        if p["supplied"]:
            asked[p["name"]] = supply[p["supplied"]]()
    if asked.get("prompt") == "-" or asked.get("prompt_file") == "-":
        asked["prompt"], asked["prompt_file"] = sys.stdin.read(), None
        if entry["name"] == "agent.send":
            del asked["prompt_file"]
    return from_here.meant(entry["name"], asked, os.getcwd())


def _passed_on(words: list[str]) -> dict[str, Any]:
    """click leaves our own option to what follows the agent's name, and the separator, when options are passed on."""
    found: dict[str, Any] = {}
    if words[0] == "--service" and len(words) > 2:
        found["service"], words = words[1], words[2:]
    return {**found, "command": words[1:] if words[0] == "--" and len(words) > 1 else words}


def _confirm(entry: Mapping[str, Any], is_sure: bool, given: Mapping[str, Any]) -> None:  # noqa: FBT001
    if is_sure or given.get("dry_run"):
        return
    named = [word for p in entry["params"] if p["argument"] for word in _words(given[p["name"]])]
    command = " ".join(entry["command"])
    if not named and "all" in given and not given["all"]:
        return  # refused anyway, with a better reason
    _refuse_other_name(named, str(given.get("discard") or ""))
    lost = _lost(named) if entry["name"] == "agent.rm" else ""
    if entry["name"] == "memory.forget":
        lost = str(_json(entry, _ask(entry, {**given, "dry_run": True}))["summary"])
    if not sys.stdin.isatty():
        raise UsageError(
            f"`envmgr {command}` needs a yes{lost and f': {lost}'}",
            hint=f"Say `{shlex.join(['envmgr', *sys.argv[1:], '--yes'])}`.",
        )
    what = ", ".join(named) or ("all agents" if given.get("all") else "everything")
    import click

    if lost:
        print(lost, file=sys.stderr)
    click.confirm(f"{command} {what}?", abort=True, err=True)


def _refuse_many_discards() -> None:
    """The last one would win without a word."""
    if sum(word.partition("=")[0] == "--discard" for word in sys.argv) > 1:
        raise UsageError(
            "--discard takes one name",
            hint="Remove agents whose work may go one at a time, each with its --discard.",
        )


def _refuse_other_name(named: Sequence[str], discard: str) -> None:
    """Before a yes is asked for: no yes helps. Ids are left to the daemon, which knows whose they are."""
    if discard and named and discard not in named and set(named) <= set(agent_names()):
        raise UsageError(
            f"--discard names {discard}, and what is to be removed is {', '.join(named)}",
            hint="Give the name of the agent whose work may go.",
        )


def _lost(names: Sequence[str]) -> str:
    """What `undo` does not bring back; empty when nothing is known."""
    parts = []
    for name in names or agent_names():
        try:
            shown = json.loads(
                client.request("GET", f"/api/v1/agents/{urllib.parse.quote(name, safe='')}").body()
            )
        except EnvmgrError:
            continue
        if shown.get("dropped_by_rm"):
            parts.append(f"of {shown['name']} in {', '.join(shown['dropped_by_rm'])}")
    return f"`undo` does not bring back data in shared services: {'; '.join(parts)}" if parts else ""


def _words(value: object) -> list[str]:
    """Of an argument: several, one, or none."""
    return (
        [str(word) for word in value] if isinstance(value, (list, tuple)) else [str(value)] if value else []
    )


def _request(entry: Mapping[str, Any], asked: Mapping[str, Any], accept: str) -> client.Response:
    rest = dict(asked)
    path = entry["path"]
    for key in list(rest):
        if f"{{{key}}}" in path:
            path = path.replace(f"{{{key}}}", urllib.parse.quote(str(rest.pop(key)), safe=""))
    headers = {"X-Envmgr-Terminal": terminal()}
    if entry["method"] == "GET":
        query = urllib.parse.urlencode({k: v for k, v in rest.items() if v is not None}, doseq=True)
        return client.ask("GET", f"{path}?{query}", accept=accept, headers=headers)
    return client.ask(entry["method"], path, rest, accept=accept, headers=headers)


def _json(entry: Mapping[str, Any], asked: Mapping[str, Any]) -> Any:
    return json.loads(_request(entry, asked, "application/json").body())


def _lines(entry: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Items of a stream; a problem at its end is raised."""
    for line in _request(entry, asked, "application/json").lines():
        item: dict[str, Any] = json.loads(line)
        if list(item) == ["problem"]:
            raise from_problem(item["problem"])
        yield item


def _print(entry: Mapping[str, Any], asked: Mapping[str, Any], *, as_json: bool) -> int:
    """Returns the exit status that the daemon gives the answer."""
    out = sys.stdout.buffer
    if as_json and entry["stream"]:
        for item in _lines(entry, asked):
            out.write(json.dumps(item).encode() + b"\n")
            out.flush()
        return 0
    answer = _request(entry, asked, "application/json" if as_json else "text/plain")
    for chunk in answer.chunks():
        out.write(chunk + b"\n" if as_json else chunk)
        out.flush()
    return int(answer.headers.get("x-envmgr-exit", "0"))


def agent_names() -> list[str]:
    """For completion; empty when no daemon runs."""
    try:
        agents = json.loads(client.request("GET", "/api/v1/agents").body())["agents"]
    except EnvmgrError:
        return []
    return [agent["name"] for agent in agents]


def complain(error: EnvmgrError, *, as_json: bool) -> int:
    """Print a problem for the reader at hand; returns the exit status."""
    if as_json:
        print(json.dumps({"problem": error.problem()}))
        return error.exit
    paint = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    word = "\x1b[31merror:\x1b[0m" if paint else "error:"
    print(f"{word} {error.message}", file=sys.stderr)
    if error.details.get("log"):
        print(f"  log: {error.details['log']}", file=sys.stderr)
    if error.hint:
        print(f"hint:  {error.hint}", file=sys.stderr)
    return error.exit
