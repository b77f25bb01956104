"""Probes of process-compose, and the fixed ports they betray."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from envmgr.config.importers import phrases
from envmgr.config.importers.asking import is_nothing, number, table, word, wrong
from envmgr.config.importers.drafting import Draft
from envmgr.config.importers.ports import Published, name_for
from envmgr.config.importers.process_compose.run import Run
from envmgr.config.importers.units import duration
from envmgr.config.nodes import Items, Leaf, Node, Table, text_leaf

_TIMES = {
    "initial_delay_seconds": "initial",
    "period_seconds": "period",
    "timeout_seconds": "timeout",
    "success_threshold": "up",
    "failure_threshold": "down",
}
_LIVE_TIMES = {
    "initial_delay_seconds": "grace",
    "period_seconds": "period",
    "timeout_seconds": "timeout",
    "failure_threshold": "down",
}
_USUAL = {"period": 10, "timeout": 1, "up": 1, "down": 3}
_HTTP = ("host", "scheme", "path", "port", "headers", "status_code", "num_port")


def readiness(run: Run) -> None:
    """`readiness_probe` and `ready_log_line`."""
    probe = table(run.said.get("readiness_probe"), run.key("readiness_probe"))
    line = run.said.get("ready_log_line")
    has_line = line is not None and not is_nothing(line)
    if probe is None and not has_line:
        return
    out = run.out.below("ready", run.said.mark)
    if probe is None:
        assert line is not None
        out.put(
            "log",
            re.escape(run.plain(line, "ready_log_line")).replace("\\ ", " ").replace("$", "$$"),
            line.mark,
        )
        return
    if has_line and line is not None:
        run.request.report.changed(
            line.mark, run.key("ready_log_line"), "the probe alone tells that it is ready"
        )
    _check(run, probe, out, "readiness_probe")
    found = _timing(run, probe, out, "readiness_probe", _TIMES)
    whole_s = found.get("initial", 0) + found["down"] * (found["period"] + found["timeout"])
    if whole_s > 60:
        out.put("deadline", duration(whole_s), probe.mark)


def liveness(run: Run) -> None:
    """`liveness_probe`."""
    probe = table(run.said.get("liveness_probe"), run.key("liveness_probe"))
    if probe is not None:
        out = run.out.below("live", run.said.keys["liveness_probe"])
        _check(run, probe, out, "liveness_probe")
        _timing(run, probe, out, "liveness_probe", _LIVE_TIMES)


def _check(run: Run, probe: Table, out: Draft, at: str) -> None:
    command = table(probe.get("exec"), run.key(at, "exec"))
    http = table(probe.get("http_get"), run.key(at, "http_get"))
    if command is not None and (line := command.get("command")) is not None and not is_nothing(line):
        leaf = word(line, run.key(at, "exec.command"))
        out.put("exec", phrases.shell(run.parts(leaf, f"{at}.exec.command")), leaf.mark)
        if "working_dir" in command.items:
            mark = command.keys["working_dir"]
            run.request.report.dropped(
                mark, run.key(at, "exec.working_dir"), "it runs where the service does"
            )
    elif http is not None:
        _http(run, http, out, f"{at}.http_get")
    else:
        raise wrong(probe.mark, f"{run.key(at)} needs exec.command or http_get")


def _http(run: Run, http: Table, out: Draft, at: str) -> None:
    for key in http.items:
        if key not in _HTTP:
            run.request.report.unsupported(http.keys[key], run.key(at, key), "left out")
    node = http.get("port") or http.get("num_port")
    if node is None or is_nothing(node):
        raise wrong(http.mark, f"{run.key(at)} needs 'port'")
    what = run.key(at, "port")
    port = number(run.plain(node, f"{at}.port"), node.mark, what)
    if not 1 <= port <= 65535:
        raise wrong(node.mark, f"{what}: {port} is not a port number (1 to 65535)")
    name = _lease(run, port, node, at.partition(".")[0])
    check = out.below("http", http.mark)
    check.put("port", name, node.mark)
    for key in ("path", "scheme"):
        if (value := http.get(key)) is not None and not is_nothing(value):
            text = run.text(value, f"{at}.{key}")
            check.put(key, text_leaf(value.mark, text.text.lower()) if key == "scheme" else text, value.mark)
    if (code := http.get("status_code")) is not None and not is_nothing(code):
        check.put("status", [number(run.plain(code, "status_code"), code.mark, what)], code.mark)
    headers = table(http.get("headers"), run.key(at, "headers"))
    for header, value in headers.items.items() if headers else ():
        check.below("headers").put(header, run.text(value, f"{at}.headers"), value.mark)


def _lease(run: Run, port: int, node: Node, at: str) -> str:
    """A named port instead of the number, which is replaced where the command or a variable says it."""
    if port in run.leased:
        return run.leased[port]
    name = name_for(Published(inside=port), set(run.leased.values()))
    name = "http" if name == f"p{port}" and "http" not in run.leased.values() else name
    reference = f"${{ports.{name}}}"
    run.leased[port] = name
    count = _replaced(run, rf"(?<![\w.]){port}(?![\w.])", reference)
    ports = run.out.below("ports", node.mark).below(name, node.mark)
    if count:
        run.request.report.changed(node.mark, run.key(at), f"{port} becomes a leased port: {reference}")
    else:
        ports.put("prefer", port, node.mark)
        ports.put("fixed", value=True, mark=node.mark)
        says = f"it listens on {port} by itself, so only one agent can run; let it listen on $PORT"
        run.request.report.changed(node.mark, run.key(at), says)
    variable = f"{run.slug.upper().replace('-', '_')}_URL"
    run.out.below("exports", node.mark).put(variable, f"http://127.0.0.1:{reference}", node.mark)
    return name


def _replace(node: Node, pattern: str, reference: str) -> tuple[Node, int]:
    match node:
        case Leaf():
            text, count = re.subn(pattern, lambda _: reference, node.text)
            return text_leaf(node.mark, text), count
        case Items(mark, items):
            done = [_replace(item, pattern, reference) for item in items]
            return Items(mark, tuple(item for item, _ in done)), sum(count for _, count in done)
    return node, 0


def _timing(run: Run, probe: Table, out: Draft, at: str, times: Mapping[str, str]) -> dict[str, int]:
    """Those that are written; returns them beside the usual ones."""
    found = dict(_USUAL)
    for key, node in probe.items.items():
        if key in ("exec", "http_get") or is_nothing(node):
            continue
        if key not in times:
            run.request.report.unsupported(probe.keys[key], run.key(at, key), "not known here; left out")
            continue
        what = run.key(at, key)
        ours, value = times[key], number(run.plain(node, what), node.mark, what)
        found[ours] = value
        if ours in ("up", "down"):
            out.put(ours, max(1, value), probe.keys[key])
        elif value:
            out.put(ours, duration(value), probe.keys[key])
    return found


def share_ports(runs: Sequence[Run]) -> None:
    """Where processes name such a port on this machine, they mean the leased one."""
    for owner in runs:
        for port, name in owner.leased.items():
            for run in runs:
                reference = (
                    f"${{ports.{name}}}" if run is owner else f"${{services.{owner.slug}.ports.{name}}}"
                )
                _replaced(
                    run, rf"(?:(?<=localhost:)|(?<=127\.0\.0\.1:)|(?<=0\.0\.0\.0:)){port}(?!\d)", reference
                )


def _replaced(run: Run, pattern: str, reference: str) -> int:
    """Put the reference into command, variables and check; how often."""
    found, count = run.out.table(), 0
    if (command := found.get("command")) is not None:
        node, count = _replace(command, pattern, reference)
        run.out.put("command", node, command.mark)
    for key, below in (("env", ""), ("ready", "exec"), ("live", "exec")):
        section = found.get(key)
        for name, value in section.items.items() if isinstance(section, Table) else ():
            if below in ("", name):
                node, more = _replace(value, pattern, reference)
                count += more
                run.out.below(key).put(name, node, value.mark)
    return count
