"""How a process of process-compose.yaml lives and ends."""

from __future__ import annotations

import signal

from envmgr.config.importers import phrases
from envmgr.config.importers.asking import flag, is_nothing, number, table, word, wrong
from envmgr.config.importers.drafting import Draft
from envmgr.config.importers.naming import Names
from envmgr.config.importers.process_compose import probes
from envmgr.config.importers.process_compose.run import Run, is_yes
from envmgr.config.importers.units import duration
from envmgr.config.nodes import Leaf
from envmgr.config.problems import Mark

_RESTARTS = {"no": "never", "always": "always", "on_failure": "on-failure", "exit_on_failure": "never"}


def take(run: Run, *, is_task: bool) -> None:
    """Kind, probes, restarts, instances, ending and profiles."""
    said, out = run.said, run.out
    is_daemon = is_yes(said.get("is_daemon"))
    if is_task or is_daemon:
        out.put("kind", "task", said.mark)
    if is_daemon:
        says = "what it leaves in the background is not looked after; start the program itself, in the foreground"
        run.request.report.unsupported(said.keys["is_daemon"], run.key("is_daemon"), says)
    if is_yes(said.get("disabled")) or is_yes(said.get("is_disabled")):
        out.put("disabled", value=True, mark=said.mark)
    if is_yes(said.get("is_tty")):
        out.put("tty", value=True, mark=said.keys["is_tty"])
    if is_yes(said.get("is_foreground")):
        out.put("disabled", value=True, mark=said.mark)
        run.request.report.unsupported(
            said.keys["is_foreground"], run.key("is_foreground"), "run it with `envmgr exec`"
        )
    if not (is_task or is_daemon):
        probes.readiness(run)
        probes.liveness(run)
        _availability(run)
        _replicas(run)
    _shutdown(run, is_daemon=is_daemon)
    _namespace(run)


def _availability(run: Run) -> None:
    said = table(run.said.get("availability"), run.key("availability"))
    mark = run.said.keys.get("availability", run.said.mark)
    out = run.out.below("restart", mark)
    for key, node in said.items.items() if said else ():
        assert said is not None
        if not is_nothing(node):
            _restart(run, out, key, word(node, run.key("availability", key)), said.keys[key])
    if "policy" not in out:  # what process-compose means by saying nothing
        out.put("policy", "never", mark)


def _restart(run: Run, out: Draft, key: str, leaf: Leaf, mark: Mark) -> None:
    what, text = run.key("availability", key), leaf.text
    match key:
        case "restart":
            policy = _RESTARTS.get("no" if text == "false" else text)
            if policy is None:
                raise wrong(leaf.mark, f"{what} must be one of {', '.join(_RESTARTS)}, not {text!r}")
            out.put("policy", policy, mark)
            if text == "exit_on_failure":
                run.request.report.changed(mark, what, "its failure degrades the agent, which goes on")
        case "backoff_seconds":
            out.put("initial", duration(number(text, leaf.mark, what)), mark)
        case "max_restarts":
            if count := number(text, leaf.mark, what):
                out.put("budget", f"{min(count, 15)}/10m", mark)
                says = f"{text} restarts in 10 minutes, not {text} in all"
                run.request.report.changed(mark, what, says)
        case "exit_on_end" | "exit_on_skipped":
            if flag(text, leaf.mark, what):
                run.request.report.unsupported(mark, what, "the agent goes on without it")
        case _:
            run.request.report.unsupported(mark, what, "not known here; left out")


def _replicas(run: Run) -> None:
    node = run.said.get("replicas")
    if node is None or is_nothing(node):
        return
    count = number(run.plain(node, "replicas"), node.mark, run.key("replicas"))
    if count > 10:
        run.request.report.changed(
            node.mark, run.key("replicas"), f"{count} instances become 10, the most there are here"
        )
    if count > 1:
        run.out.put("replicas", min(count, 10), node.mark)


def _shutdown(run: Run, *, is_daemon: bool) -> None:
    said = table(run.said.get("shutdown"), run.key("shutdown"))
    for key, node in said.items.items() if said else ():
        assert said is not None
        mark, what = said.keys[key], run.key("shutdown", key)
        if is_nothing(node):
            continue
        match key:
            case "command":
                line = phrases.shell(run.parts(word(node, what), "shutdown.command"))
                if is_daemon:
                    run.request.out.below("hooks", mark).add("post_stop", [line], mark)
                else:
                    run.out.below("stop", mark).put("command", line, mark)
            case "timeout_seconds":
                grace_s = number(run.plain(node, "shutdown"), node.mark, what)
                run.out.below("stop", mark).put("grace", duration(grace_s), mark)
            case "signal":
                value = number(run.plain(node, "shutdown"), node.mark, what)
                name = next((one.name for one in signal.Signals if one == value), "")
                if not name:
                    raise wrong(node.mark, f"{what}: there is no signal {value}")
                run.out.below("stop", mark).put("signal", name, mark)
            case _:
                run.request.report.dropped(mark, what, "signals always go to all its processes")


def _namespace(run: Run) -> None:
    node = run.said.get("namespace")
    if node is None or is_nothing(node):
        return
    name = run.plain(node, "namespace")
    if name == "default" or name in run.request.profiles:
        return
    if run.request.profiles:
        run.out.put("profiles", [Names([name], "profile")[name]], node.mark)
        return
    says = f"all namespaces run; to choose, import with --profile {name} or write `profiles: [{name}]`"
    run.request.report.changed(node.mark, run.key("namespace"), says)
