"""The work queue as people and agents use it."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import Host, Ran, host
from tests.support.requirements import proves
from tests.support.wait import eventually

# An assistant that takes one task and then sits there.
_TAKER = f"""
envmgr: 1
name: taker
agent:
  kind: command
  command: [sh, -c, 'echo $$$$ > pid; {sys.executable} -m envmgr task claim --json > claimed.json; exec sleep 1000']
"""
_PHRASE = "corge-grault-waldo"
# It has a secret that does not look like one.
_KEEPER = """
envmgr: 1
name: keeper
secrets: {PHRASE: {from: env, name: CORGE}}
agent: {kind: command, command: [sleep, "1000"]}
"""
_PLAN = """
- key: api
  description: Build the API
  task_type: build
  claims: [src/api, "api:/users"]
- key: ui
  description: Build the UI
  task_type: page
  depends_on: [api]
- description: Release
  depends_on: [ui, api]
  priority: 1
"""
_LINES = "\n".join(
    json.dumps({"key": f"n{n}", "description": f"number {n}", "task_type": "many"}) for n in range(300)
)


@pytest.fixture(scope="module")
def here() -> Iterator[Host]:
    with host(ENVMGR_QUEUE__PERIOD_S="0.2", ENVMGR_QUEUE__BACK_OFF_S="0", CORGE=_PHRASE) as found:
        found.template("taker", _TAKER)
        found.template("keeper", _KEEPER)
        found.ok("daemon", "start")
        yield found


def _names(ran: Ran) -> list[str]:
    return re.findall(r"t-\d{6}", ran.out)


def _locked(here: Host, task: str) -> set[str]:
    """What is locked for a task."""
    return {
        lock["target"] for lock in here.ok("lock", "ls", "--json").json["locks"] if lock["task_id"] == task
    }


def _count(here: Host) -> int:
    """Of all tasks, wherever they are: those of other tests may be claimed or returned at any time."""
    return sum(here.ok("task", "ls", "--json").json["counts"].values())


def _refused(here: Host, *args: str, stdin: str = "") -> Ran:
    """Refused as bad input, with what to do, and no task more than before."""
    before = _count(here)
    ran = here.run(*args, stdin=stdin)
    assert ran.code in (2, 3, 4), ran
    assert "rror:" in ran.err
    assert "Traceback" not in ran.err
    assert _count(here) == before
    return ran


@proves("QUEUE-012")
def test_tasks_from_a_file_to_the_end(here: Host) -> None:
    (here.repo / "plan.yaml").write_text(_PLAN, encoding="utf-8")

    api, ui, release = (
        one["task_id"] for one in here.ok("task", "add", "--file", "plan.yaml", "--json").json["tasks"]
    )

    graph = here.ok("task", "graph", release)
    assert _names(graph)[:3] == [api, ui, release]
    dot = here.ok("task", "graph", release, "--form", "dot").out
    assert f'"{api}" -> "{ui}"' in dot
    assert f"waits for {api}" in here.ok("task", "why", ui).out
    claimed = here.ok("task", "claim", "--task-types", "build", "--json").json
    assert (claimed["task_id"], claimed["locks"]) == (api, ["src/api", "api:/users"])
    assert _locked(here, claimed["task_id"]) == {"src/api", "api:/users"}
    token = str(claimed["lease_token"])
    here.ok("task", "heartbeat", api, "--lease-token", token, "--usage", '{"tokens": 12}')
    assert here.run("task", "complete", api, "--lease-token", str(int(token) + 1)).code == 5
    done = here.ok("task", "complete", api, "--lease-token", token, "--result", '{"pr": 7}', "--json").json
    assert (done["status"], done["next_ready"]) == ("done", [ui])
    assert _locked(here, api) == set()
    shown = here.ok("task", "show", api, "--json").json
    assert (shown["result"], shown["usage"]["tokens"], shown["dependants"]) == ({"pr": 7}, 12, [ui, release])
    assert here.ok("task", "cancel", ui, "-m", "not now", "--json").json["cancelled"] == [release]
    alone = here.ok("task", "retry", ui).out
    assert f"  {release} still cancelled because of {ui}, waits for {ui}\n" in alone
    assert f"envmgr task retry {ui} --with-dependents" in alone
    assert (
        f"  {release} taken up again, blocked, waits for {ui}\n"
        in here.ok("task", "retry", ui, "--with-dependents").out
    )
    again = here.ok("task", "claim", "--task-types", "page", "--json").json
    assert (again["task_id"], again["lease_token"]) == (ui, int(token) + 1)
    assert here.ok("task", "fail", ui, "-m", "tests are red", "--json").json["status"] == "ready"
    here.ok("task", "cancel", ui)
    statuses = {
        one["task_id"]: one["status"]
        for one in here.ok("task", "ls", "--limit", "1000", "--json").json["tasks"]
    }
    assert [statuses[name] for name in (api, ui, release)] == ["done", "cancelled", "cancelled"]


@proves("QUEUE-012")
def test_json_lines_come_from_stdin_and_lists_in_pages(here: Host) -> None:
    here.ok("task", "add", "--file", "-", stdin=_LINES)

    many = ("task", "ls", "--task-type", "many", "--status", "ready", "--limit", "200", "--json")
    page = here.ok(*many).json
    rest = here.ok(*many, "--cursor", page["next"]).json

    assert (len(page["tasks"]), len(rest["tasks"]), rest["next"]) == (200, 100, "")


@proves("QUEUE-009")
def test_who_asks_again_with_the_same_key_is_told_that_nothing_was_added(here: Host) -> None:
    (name,) = _names(here.ok("task", "add", "Once", "--idempotency-key", "one"))

    again = here.ok("task", "add", "Once", "--idempotency-key", "one")
    as_json = here.ok("task", "add", "Once", "--idempotency-key", "one", "--json").json
    plan = ("task", "add", "--file", "-", "--idempotency-key", "many")
    first = here.ok(*plan, stdin="- description: a\n- description: b\n")
    second = here.ok(*plan, stdin="- description: a\n- description: b\n")

    assert f"{name} was there already" in again.out
    assert (as_json["task_id"], as_json["is_repeat"]) == (name, True)
    assert "nothing was added" in second.out
    assert "nothing was added" not in first.out
    assert _names(first) == _names(second)
    for one in (name, *_names(first)):
        here.ok("task", "cancel", one)


@proves("QUEUE-011")
def test_the_convention_of_other_coordinators_calls_a_task_off(here: Host) -> None:
    (name,) = _names(here.ok("task", "add", "Soon obsolete", "-t", "obsolete"))
    token = here.ok("task", "claim", "--task-types", "obsolete", "--json").json["lease_token"]

    off = here.ok(
        "task", "complete", name, "--no-success", "--error-code", "cancelled_by_orchestrator", "-m", "revised", "--json"
    ).json  # fmt: skip

    assert off["status"] == "cancelled"
    late = here.run("task", "complete", name, "--lease-token", str(token), "--json")
    assert (late.code, late.json["reason"], late.json["must_stop"]) == (5, "task_cancelled", True)
    shown = here.ok("task", "show", name, "--json").json
    assert shown["error_message"] == "Cancelled by orchestrator: revised"


@proves("QUEUE-012")
def test_a_task_that_was_given_back_is_nobodys(here: Host) -> None:
    (name,) = _names(here.ok("task", "add", "Try it", "-t", "try"))
    here.ok("task", "claim", "-t", "try")
    mine = here.ok("task", "show", name, "--json").json["claimed_by"]

    here.ok("task", "fail", name)

    back = here.ok("task", "show", name, "--json").json
    assert (bool(mine), back["claimed_by"], back["claimed_at"], back["history"][0]["by"]) == (
        True,
        "",
        "",
        mine,
    )
    assert f"  status      {back['status']}\n" in here.ok("task", "show", name).out
    here.ok("task", "cancel", name)


@proves("QUEUE-012")
def test_bad_input_is_refused_and_nothing_of_it_is_stored(here: Host) -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
    )
    add = ("task", "add", "--file", "-")

    assert "a -> b -> a" in _refused(here, *add, stdin='[{"key":"a","description":"x","depends_on":["b"]},{"key":"b","description":"x","depends_on":["a"]}]').err  # fmt: skip
    assert "given to 2 tasks" in _refused(here, *add, stdin="- {key: a, description: x}\n- {key: a, description: y}\n").err  # fmt: skip
    assert "list of tasks" in _refused(here, *add, stdin="just: words\n").err
    assert "list of tasks" in _refused(here, *add, stdin="[]").err
    assert "no task t-999999" in _refused(here, *add, stdin="- {description: x, depends_on: [t-999999]}").err
    assert "not JSON" in _refused(here, *add, stdin='{"description": "x"}\n{oops\n').err
    assert "priority" in _refused(here, *add, stdin="- {description: x, priority: 0}").err
    odd = _refused(here, *add, stdin="- {description: x}\n- {description: Paint it, colour: red}").err
    assert "stdin:2:27: task 2 (Paint it): colour is unknown; there are description, task_type," in odd
    assert "--task-type" in odd
    assert "at most 1000" in _refused(here, *add, stdin='{"description":"x"}\n' * 1001).err
    _refused(here, *add, stdin=bomb)
    _refused(here, *add, stdin='[{"description": "a\\u0000b"}]')
    _refused(here, *add, stdin='[{"description": "%s"}]' % ("x" * 70_000))
    _refused(here, "task", "add")
    _refused(here, "task", "add", "x", "--file", "plan.yaml")
    _refused(here, "task", "add", "--file", "missing.yaml")
    _refused(here, "task", "add", "x", "-p", "0")
    _refused(here, "task", "add", "x", "-p", "11")
    _refused(here, "task", "add", "x", "-t", "not a word")
    _refused(here, "task", "add", "x", "--claims", "../outside")
    _refused(here, "task", "add", "x", "--claims", "/etc/passwd")
    _refused(here, "task", "add", "x", "--deadline", "soon")
    _refused(here, "task", "add", "x", "--deadline", "2020-01-01T00:00:00Z")
    _refused(here, "task", "add", "x", "--run-at", "2026-11-20T18:00:00")
    _refused(here, "task", "add", "x", "--input-data", "{oops")
    _refused(here, "task", "add", "x", "--budget", '{"beer": 3}')
    _refused(here, "task", "show", "t-999999")
    _refused(here, "task", "complete", "t-999999")
    _refused(here, "task", "why", "nobody")
    _refused(here, "task", "ls", "--limit", "0")


@proves("QUEUE-007")
def test_what_a_killed_agent_has_is_ready_again_at_once_and_its_locks_are_free(here: Host) -> None:
    (name,) = _names(here.ok("task", "add", "Urgent", "-p", "1", "--claims", "src/urgent.py"))
    here.ok("spawn", "--template", "taker", "--name", "anna")
    eventually(lambda: here.ok("task", "show", name, "--json").json["claimed_by"] == "anna", within_s=30)
    assert _locked(here, name) == {"src/urgent.py"}
    for words in (("ls",), ("show", "anna"), ("why", "anna")):
        assert name in here.ok(*words).out, words
    pid = int((Path(here.agent("anna")["worktree"]) / "pid").read_text(encoding="utf-8"))

    os.kill(pid, signal.SIGKILL)

    eventually(lambda: here.ok("task", "show", name, "--json").json["status"] == "ready", within_s=10)
    assert _locked(here, name) == set()
    history = here.ok("task", "show", name, "--json").json["history"]
    assert [one["outcome"] for one in history][:1] == ["abandoned"]


_WRONG = """\
- key: api
  description: Build the API
  depends_on:
  - ui
- key: ui
  description: Build the UI
  depends_on: [api]
"""


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("p.yaml", "- description: x\n  prio: 3\n", ["p.yaml:2:3: task 1 (x): prio is unknown; there are"]),
        ("p.yaml", "- description: x\n  type: not a word\n", ["p.yaml:2:3: task 1 (x): type must have the form"]),
        ("p.yaml", "- description: x\n\n- key: a\n", ["p.yaml:3:3: task 2 (a): description is missing"]),
        ("p.yaml", "- description: x\n- words\n", ["p.yaml:2:3: task 2: must be an object"]),
        ("p.yaml", "- description: x\n  claims:\n  - src/a\n  - ../b\n", ["p.yaml:4:5: task 1 (x): ../b cannot be locked"]),
        ("p.yaml", "- description: x\n  deadline: soon\n", ["p.yaml:2:3: task 1 (x): 'soon' is no moment"]),
        ("p.yaml", "- description: x\n  deadline: 2020-01-01T00:00:00Z\n", ["p.yaml:2:3: task 1 (x): the deadline is over"]),
        ("p.yaml", "- description: x\n  budget: {beer: 3}\n", ["p.yaml:2:12: task 1 (x): budget.beer is unknown"]),
        ("p.yaml", "- key: a\n  description: x\n- depends_on: [a,\n    t-999999]\n  description: y\n", ["p.yaml:4:5: task 2 (y): no task t-999999"]),
        ("p.yaml", "- description: x\n  parent: api\n", ["p.yaml:2:3: task 1 (x): no task api"]),
        ("p.yaml", "- key: t-7\n  description: x\n", ["p.yaml:1:3: task 1 (t-7): the key t-7 looks like the id"]),
        ("p.yaml", '- description: x\n- description: "a\\0b"\n', ["p.yaml:2:3: task 2 (a", "a text holds what none can"]),
        ("p.yaml", _WRONG, ["p.yaml:4:5: task 1 (api): these tasks wait for one another: api -> ui -> api", "See also p.yaml:7:16."]),
        ("p.yaml", "- key: a\n  description: x\n- key: a\n  description: y\n", ["p.yaml:3:3: task 2 (a): the key a is given to 2 tasks", "See also p.yaml:1:3."]),
        ("p.yaml", "- description: x\n  description: y\n", ["p.yaml:2:3: key 'description' is given twice"]),
        ("p.yaml", "tasks: []\nrepo: x\n", ["p.yaml:2:1: repo is unknown beside `tasks`"]),
        ("p.yaml", "tasks: x\n", ["p.yaml:1:8: this is no list of tasks"]),
        ("p.json", '{\n "tasks": [\n  {"description": "x", "priority": 11}]}', ["p.json:3:24: task 1 (x): priority must be at most 10"]),
        ("p.json", "{{{\n", ["p.json:2:1: not valid YAML"]),
        ("p.jsonl", '{"description": "x"}\n\n{"description": "y", "prio": 3}\n', ["p.jsonl:3:1: task 2 (y): prio is unknown"]),
        ("p.jsonl", '{"description": "x", "depends_on": ["a"]}\n', ["p.jsonl:1:1: task 1 (x): no task a"]),
        ("p.jsonl", '{"description": "x"}\n{"description": "y", "description": "z"}\n', ["p.jsonl:2:1: key 'description' is given twice"]),
        ("p.jsonl", '{"description": "x"}\n{oops\n', ["p.jsonl:2:1: not JSON"]),
    ],
)  # fmt: skip
@proves("QUEUE-012")
def test_whatever_is_wrong_with_a_plan_is_told_with_its_line(
    here: Host, file: str, text: str, says: list[str]
) -> None:
    (here.repo / file).write_text(text, encoding="utf-8")

    err = _refused(here, "task", "add", "--file", file).err

    assert [words for words in says if words not in err] == [], err


@proves("QUEUE-012")
def test_programs_find_the_line_and_what_is_wrong_in_the_details(here: Host) -> None:
    (here.repo / "p.yaml").write_text(_WRONG, encoding="utf-8")

    problem = here.run("task", "add", "--file", "p.yaml", "--json").json["problem"]

    details = problem["details"]
    assert (problem["code"], details["file"], details["line"]) == ("usage.invalid", "p.yaml", 4)
    assert details["at"] == ["tasks", 0, "depends_on", 0]


@proves("QUEUE-014")
def test_neither_secrets_of_agents_nor_what_looks_like_one_are_kept_with_a_task(here: Host) -> None:
    here.ok("spawn", "-t", "keeper", "--name", "k")
    said = f"log in with {_PHRASE} or PASSWORD=hunter2hunter2"

    task = here.ok("task", "add", said, "-t", "masked", "--input-data", f'{{"how": "{said}"}}', "--json").json

    shown = here.ok("task", "show", task["task_id"], "--json").json
    kept = "log in with ******** or PASSWORD=********"
    assert (shown["description"], shown["input_data"]) == (kept, {"how": kept})
    assert _PHRASE.encode() not in b"".join(file.read_bytes() for file in here.state.glob("envmgr.db*"))
    here.ok("rm", "k", "--yes", "--stop")
