"""process-compose.yaml: processes with probes and restarts, much as ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

from envmgr.config.importers import phrases
from envmgr.config.importers.asking import flag, is_nothing, kind, listed, table, unknown, word, words, wrong
from envmgr.config.importers.compose.merging import merge, normal
from envmgr.config.importers.drafting import Draft
from envmgr.config.importers.naming import Names
from envmgr.config.importers.process_compose import life, probes
from envmgr.config.importers.process_compose.keys import DROPPED, UNSUPPORTED
from envmgr.config.importers.process_compose.run import Run, is_yes
from envmgr.config.importers.request import Request
from envmgr.config.importers.variables import scan
from envmgr.config.nodes import Leaf, Node, Table, text_leaf
from envmgr.config.problems import BadFile, Mark, Problem, did_you_mean
from envmgr.config.variables import inherited
from envmgr.core.placeholders import Literal, Part, Variable, escape

_CONDITIONS = {
    "process_started": "started",
    "process_healthy": "ready",
    "process_log_ready": "ready",
    "process_completed": "completed",
    "process_completed_successfully": "succeeded",
}
_TAKEN = (
    *("command", "entrypoint", "working_dir", "environment", "env_file", "depends_on", "readiness_probe"),
    *("ready_log_line", "availability", "shutdown", "replicas", "disabled", "is_disabled", "is_daemon"),
    *("is_foreground", "namespace", "description", "vars", "disable_env_expansion", "success_exit_codes"),
    *("is_dotenv_disabled", "is_tty", "liveness_probe"),
)
_TOP = (
    "processes",
    "environment",
    "vars",
    "shell",
    "disable_env_expansion",
    "env_file",
    "is_dotenv_disabled",
)


def read(request: Request) -> str:
    """Fill the template; these files do not name their project."""
    tree = _tree(request)
    processes = table(tree.get("processes"), "processes")
    if processes is None or not processes.items:
        raise wrong(tree.mark, "there are no 'processes' in it")
    for name in request.services:
        if name not in processes.items:
            raise wrong(processes.mark, f"there is no process {name!r}", did_you_mean(name, processes.items))
    names = Names(list(processes.items), "process")
    shared = _top(request, tree)
    waited = _waited_for(processes)
    problems: list[Problem] = []
    wanted = _closure(processes, request.services)
    runs: list[Run] = []
    for name, node in processes.items.items():
        if name not in wanted:
            continue
        try:
            runs.append(_process(request, tree, names, name, node, shared, waited))
        except BadFile as error:
            problems += error.problems
    if problems:
        raise BadFile(problems)
    probes.share_ports(runs)
    return ""


def _tree(request: Request) -> Table:
    whole: Node | None = None
    for path in request.files:
        tree = request.places.yaml(path)
        if not isinstance(tree, Table):
            raise wrong(tree.mark, f"it must be a map of keys, not {kind(tree)}")
        whole = merge(whole, normal(tree), {})
    assert isinstance(whole, Table)
    return whole


def _closure(processes: Table, only: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    waiting = list(only or processes.items)
    while waiting:
        name = waiting.pop()
        node = processes.items.get(name)
        if name in found or node is None:
            continue
        found.add(name)
        edges = node.get("depends_on") if isinstance(node, Table) else None
        waiting += list(edges.items) if isinstance(edges, Table) else []
    return found


def _top(request: Request, tree: Table) -> frozenset[str]:
    """Variables of all processes; returns their names."""
    for key in tree.items:
        _report_key(request, tree.keys[key], key, key, _TOP)
    found = set(_environment(request, tree, request.out, "environment", expands=True))
    disabled = tree.get("is_dotenv_disabled")
    dotenv = request.files[0].parent / ".env"
    inside = request.places.inside(dotenv.parent, ".env")
    is_wanted = disabled is None or not flag(
        word(disabled, "is_dotenv_disabled").text, disabled.mark, "is_dotenv_disabled"
    )
    if is_wanted and inside is not None and dotenv.is_file():
        found |= set(request.places.variables(dotenv))
        request.out.add("env_file", [inside], Mark(request.places.show(dotenv), 1, 1))
    return frozenset(
        found | set(inherited(dict.fromkeys(("PATH", "HOME", "USER", "SHELL", "LANG", "TMPDIR"), "")))
    )


def _report_key(request: Request, mark: Mark, name: str, key: str, known: tuple[str, ...]) -> None:
    if name in known or name.startswith("x-"):
        return
    if name in DROPPED:
        if DROPPED[name]:
            request.report.dropped(mark, key, DROPPED[name])
    elif name in UNSUPPORTED:
        request.report.unsupported(mark, key, UNSUPPORTED[name])
    else:
        request.report.unsupported(mark, key, unknown(name, (*known, *DROPPED, *UNSUPPORTED)))


def _environment(request: Request, said: Table, out: Draft, key: str, *, expands: bool) -> list[str]:
    names = []
    pairs = table(said.get("environment"), key)
    for name, node in pairs.items.items() if pairs else ():
        assert pairs is not None
        mark = pairs.keys[name]
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or is_nothing(node):
            request.report.unsupported(mark, f"{key}.{name}", "not NAME=value; left out")
            continue
        leaf = word(node, f"{key}.{name}")
        pieces = scan(leaf.text, leaf.mark) if expands else [leaf.text]
        parts: list[Part] = [
            Literal(piece) if isinstance(piece, str) else Variable(piece.name, ":-", piece.word)
            for piece in pieces
        ]
        out.below("env", mark).put(name, text_leaf(mark, phrases.text(parts)), mark)
        names.append(name)
    return names


def _waited_for(processes: Table) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {}
    for node in processes.items.values():
        edges = node.get("depends_on") if isinstance(node, Table) else None
        for name, edge in edges.items.items() if isinstance(edges, Table) else ():
            condition = edge.get("condition") if isinstance(edge, Table) else None
            found.setdefault(name, set()).add(
                condition.text if isinstance(condition, Leaf) else "process_started"
            )
    return found


def _process(
    request: Request,
    tree: Table,
    names: Names,
    name: str,
    node: Node,
    shared: frozenset[str],
    waited: Mapping[str, set[str]],
) -> Run:
    processes = tree.items["processes"]
    mark = processes.keys[name] if isinstance(processes, Table) else node.mark
    said = table(node, f"processes.{name}")
    if said is None:
        raise wrong(mark, f"processes.{name} needs 'command'")
    out = request.out.below("services", mark).below(names[name], mark)
    request.report.about(f"processes.{name}", names[name])
    expands = not any(is_yes(where.get("disable_env_expansion")) for where in (tree, said))
    own = _environment(request, said, out, f"processes.{name}.environment", expands=expands)
    run = Run(
        request=request,
        name=name,
        slug=names[name],
        said=Table(mark, said.items, said.keys),
        out=out,
        known=shared | frozenset(own),
        vars=_vars(tree) | _vars(said),
        expands=expands,
    )
    if names[name] != name:
        request.report.changed(mark, run.key(), f"it is called {names[name]} here")
    for key in said.items:
        _report_key(request, said.keys[key], key, run.key(key), _TAKEN)
    is_task = bool(waited.get(name, set()) & {"process_completed", "process_completed_successfully"})
    _command(run, tree)
    life.take(run, is_task=is_task)
    _dependencies(run, names, waited)
    return run


def _vars(said: Table) -> dict[str, str]:
    found = table(said.get("vars"), "vars")
    return {name: word(node, f"vars.{name}").text for name, node in found.items.items()} if found else {}


def _command(run: Run, tree: Table) -> None:
    said, out = run.said, run.out
    command, entry = said.get("command"), said.get("entrypoint")
    if entry is not None and listed(entry, run.key("entrypoint")):
        out.put(
            "command",
            [run.text(leaf, "entrypoint") for leaf in words(entry, run.key("entrypoint"))],
            entry.mark,
        )
    elif command is not None and not is_nothing(command):
        leaf = word(command, run.key("command"))
        line = phrases.shell(run.parts(leaf, "command"))
        shell = _shell(run, tree)
        out.put(
            "command", [shell, *line[1:]] if isinstance(line, list) else text_leaf(leaf.mark, line), leaf.mark
        )
        if isinstance(line, str):
            out.put("shell", shell, leaf.mark)
    else:
        raise wrong(said.mark, f"{run.key()} needs 'command'")
    if (where := said.get("working_dir")) is not None and not is_nothing(where):
        _working_dir(run, where)
    for leaf in words(said.get("env_file"), run.key("env_file")):
        inside = run.request.places.inside(run.request.files[0].parent, run.plain(leaf, "env_file"))
        if inside is None:
            run.request.report.unsupported(
                leaf.mark, run.key("env_file"), "lies outside of the repository; left out"
            )
        else:
            out.add("env_file", [text_leaf(leaf.mark, escape(inside))], leaf.mark)
    if (about := said.get("description")) is not None and not is_nothing(about):
        out.put("description", run.plain(about, "description"), about.mark)


def _shell(run: Run, tree: Table) -> str:
    """Commands are written for bash unless the file says otherwise."""
    said = table(tree.get("shell"), "shell")
    name = said.get("shell_command") if said else None
    argument = said.get("shell_argument") if said else None
    if argument is not None and word(argument, "shell.shell_argument").text != "-c":
        run.request.report.unsupported(argument.mark, "shell.shell_argument", "shells are called with -c")
    return word(name, "shell.shell_command").text if name is not None and not is_nothing(name) else "bash"


def _working_dir(run: Run, node: Node) -> None:
    said = run.plain(node, "working_dir")
    inside = run.request.places.inside(run.request.files[0].parent, said)
    if inside is None or said.startswith("/"):
        run.request.report.unsupported(
            node.mark, run.key("working_dir"), f"{said} is not in the worktree; it runs at its top"
        )
    elif inside != ".":
        run.out.put("cwd", escape(inside), node.mark)


def _dependencies(run: Run, names: Names, waited: Mapping[str, set[str]]) -> None:
    said = table(run.said.get("depends_on"), run.key("depends_on"))
    for name, node in said.items.items() if said else ():
        assert said is not None
        mark = said.keys[name]
        ours = names.get(name)
        if ours is None:
            raise wrong(mark, f"{run.key('depends_on')}: there is no process {name!r}")
        edge = table(node, run.key("depends_on", name))
        condition = edge.get("condition") if edge else None
        asked = (
            word(condition, run.key("depends_on")).text
            if condition is not None and not is_nothing(condition)
            else "process_started"
        )
        if asked not in _CONDITIONS:
            raise wrong(
                mark,
                f"{run.key('depends_on')}: {asked!r} is not a condition",
                did_you_mean(asked, _CONDITIONS),
            )
        found = _CONDITIONS[asked]
        if found in ("ready", "started") and waited.get(name, set()) & {
            "process_completed",
            "process_completed_successfully",
        }:
            found = "succeeded"
        run.out.below("depends_on", mark).below(ours, mark).put("condition", found, mark)
