"""On a real daemon: whatever is asked of it stands in the audit trail, and a crash leaves that whole."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from envmgr.app.manifest import served
from envmgr.app.operations import Operation
from tests.support.examples import EXAMPLES, Example, Scene
from tests.support.faces import Http
from tests.support.host import Host, host
from tests.support.pages import blocks
from tests.support.requirements import ROOT, proves
from tests.support.survive import kill_daemon
from tests.support.wait import eventually

# Any throughout: JSON documents.

_LAST = ("down", "daemon.shutdown")


@contextmanager
def _http(here: Host, **headers: str) -> Iterator[httpx.Client]:
    transport = httpx.HTTPTransport(uds=str(here.state / "daemon.sock"))
    with httpx.Client(
        transport=transport, base_url="http://localhost", headers=headers, timeout=60
    ) as client:
        yield client


def _rows(here: Host, *filters: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = here.ok("audit", "-n", "1000", "--json", *filters).json["entries"]
    return found


@pytest.fixture(scope="module")
def here() -> Iterator[Host]:
    with host() as made:
        made.ok("key", "create", "taken")
        yield made


@pytest.fixture
def own() -> Iterator[Host]:
    """For what must not meet other tests, and for what ends the daemon."""
    with host() as made:
        made.sleeper()
        (made.repo / "Procfile").write_text("web: sleep 1000\n", encoding="utf-8")
        made.ok("daemon", "start")
        yield made


def _ask(here: Host, op: Operation, client: httpx.Client, preparing: httpx.Client) -> None:
    fields = EXAMPLES.get(op.name, Example()).fields(Scene(word="otter", http=Http(here, preparing)))
    client.headers["x-request-id"] = f"whole-{op.name}"
    Http(here, client).call(op, fields)


@proves("TRAIL-001")
def test_every_operation_of_the_registry_has_its_row(own: Host) -> None:
    operations = [op for op in served() if op.name not in _LAST]
    with _http(own) as client, _http(own) as preparing:
        for op in operations:
            _ask(own, op, client, preparing)
    for name in _LAST:
        own.ok("daemon", "start")
        with _http(own) as client:
            _ask(own, next(op for op in served() if op.name == name), client, client)
        own.ok("daemon", "stop")

    rows = [json.loads(line) for line in own.ok("audit", "--export").out.splitlines()]
    recorded = {row["operation"] for row in rows if row["request"] == f"whole-{row['operation']}"}
    assert {op.name for op in served()} - recorded == set(), "carried out, and nobody can see it"
    assert own.ok("audit", "--verify", "--json").json["ok"]


@proves("TRAIL-001", "KEYS-001")
def test_every_operation_that_a_key_is_not_good_for_is_refused_and_recorded(here: Host) -> None:
    key = here.ok("key", "create", "nobody", "--scopes", "memory", "--json").json["key"]
    operations = [op for op in served() if op.scope != "memory" and not op.is_open and op.name not in _LAST]
    with _http(here, **{"x-api-key": key}) as client:
        for op in operations:
            given = EXAMPLES.get(op.name, Example()).given
            fields = {} if callable(given) else given
            client.headers["x-request-id"] = f"never-{op.name}"
            problem = Http(here, client).call(op, fields)
            assert problem["problem"]["code"] in ("denied", "usage.invalid"), (op.name, problem)

    rows = _rows(here, "--actor", "program:nobody")
    refused = {row["operation"] for row in rows if row["request"] == f"never-{row['operation']}"}
    assert {op.name for op in operations} - refused == set()
    assert {row["outcome"] for row in rows} <= {"denied", "usage.invalid"}


@proves("KEYS-001", "KEYS-002")
def test_a_key_is_good_for_its_scopes_until_it_is_revoked(own: Host) -> None:
    made = own.ok("key", "create", "ci", "--scopes", "read,admin,locks", "--expires", "30d", "--json").json
    key = {"x-api-key": made["key"]}
    with _http(own, **key) as client:
        assert client.get("/api/v1/agents").status_code == 200
        assert client.post("/api/v1/agents/stop", json={"all": True}).status_code == 403
        # who may make keys cannot make one that is good for more
        more = {"name": "more", "scopes": "operate"}
        assert client.post("/api/v1/keys", json=more).json()["code"] == "denied"
        assert client.post("/api/v1/keys", json={**more, "scopes": "read"}).status_code == 200
    assert _rows(own, "--actor", "program:ci", "--operation", "agent.list")

    own.ok("daemon", "stop")
    own.ok("daemon", "start")
    with _http(own, **key) as client:
        assert client.get("/api/v1/agents").status_code == 200
        held = client.post("/api/v1/locks/acquire", json={"targets": ["a.py"], "repo": str(own.repo)})
        assert held.json()["ok"], held.text
        own.ok("key", "revoke", "ci")
        assert client.get("/api/v1/agents").status_code == 401
    assert own.ok("lock", "ls", "--json").json["locks"] == []
    with _http(own, **{"x-api-key": "emk_guessed"}) as client:
        assert client.get("/api/v1/agents").json()["code"] == "denied.key"
    assert [row["outcome"] for row in _rows(own, "--actor", "program:(unknown)")] == ["denied.key"] * 2

    kept = (own.state / "envmgr.db").read_bytes() + (own.state / "daemon.log").read_bytes()
    assert made["key"].encode() not in kept


@proves("KEYS-001")
@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("create", "ci", "--scopes", "fly"), 2, "there is no scope 'fly'"),
        (("create", "taken"), 5, "there is a key 'taken' already"),
        (("create", "ci", "--expires", "soon"), 2, "'soon' is no length of time"),
        (("create", "two words"), 2, "name must have the form"),
        (("create", "ci", "--expires", "0s"), 2, "good for some time"),
        (("revoke", "otter"), 4, "there is no key 'otter'"),
    ],
)
def test_wrong_words_about_keys(here: Host, words: tuple[str, ...], code: int, says: str) -> None:
    ran = here.run("key", *words)

    assert (ran.code, says in ran.err) == (code, True), ran.err


@proves("TRAIL-004", "TRAIL-007")
def test_the_command_lines_of_the_trail(here: Host, tmp_path: Path) -> None:
    here.ok("ls")
    here.run("why", "nobody")
    proof = tmp_path / "proof.json"

    shown = here.ok("audit", "--last", "1h").out
    proof.write_text(here.ok("audit", "--prove", "1", "--json").out)
    public = json.loads(proof.read_text())["public_key"]
    exported = here.ok("audit", "--export", "--last", "1h").out.splitlines()

    assert "agent.why" in shown
    assert "not_found" in shown
    assert "is as it was written" in here.ok("audit", "--verify").out
    assert public in here.ok("audit", "--verify").out
    assert "signed with the key that you gave" in here.ok("audit", "check", str(proof), "--key", public).out
    assert here.run("audit", "check", str(proof), "--key", "00" * 32).code == 1
    (program,) = [block.text for block in blocks(ROOT / "docs/how-to/audit.md") if block.language == "python"]
    alone = subprocess.run(
        [sys.executable, "-I", "-c", program, proof], capture_output=True, text=True, check=True
    )
    assert alone.stdout == "row 1 was there\n"
    assert here.run("audit", "--prove", "100000").code == 4
    assert json.loads(exported[0])["seq"] == 1
    assert here.run("audit", "--last", "yesterday").code == 2
    assert here.ok("maintain", "audit", "keys").out.count("\n") == 3
    script = subprocess.run(
        [ROOT / "scripts" / "audit-logs.sh", "--last", "1h", "--operation", "agent.why"],
        env=here.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "nobody" in script.stdout


_ASKER = f"""
envmgr: 1
name: asker
agent:
  kind: command
  command: [sh, -c, '{sys.executable} -m envmgr ls > /dev/null; exec sleep 1000']
"""


@proves("TRAIL-007")
def test_an_agent_that_is_gone_is_found_by_its_name_and_not_taken_for_one_whose_name_begins_so(
    own: Host,
) -> None:
    own.template("asker", _ASKER)
    own.ok("spawn", "--template", "asker", "--name", "fox")
    eventually(lambda: _rows(own, "--agent", "fox", "--operation", "agent.list"), within_s=30)
    own.ok("rm", "fox", "--stop", "--yes")
    own.ok("spawn", "--template", "sleeper", "--name", "fox-2")

    asked = _rows(own, "--agent", "fox", "--operation", "agent.")

    assert {row["name"] for row in asked} == {"fox"}
    assert _rows(own, "--agent", asked[0]["agent"]) == _rows(own, "--agent", "fox")
    assert _rows(own, "--agent", "fox-2") == []
    assert own.ok("audit", "--agent", "fox-2").out == "nothing fits\n"


@proves("TRAIL-007")
@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--agent", "nosuch"), 4, "no agent nosuch, and none that is gone is in the trail"),
        (("--export", "--agent", "nosuch"), 4, "no agent nosuch, and none that is gone is in the trail"),
        (("--operation", "nosuch"), 4, "no operation is called nosuch"),
        (("--operation", "lock.aquire"), 4, "Did you mean lock.acquire"),
        (("--operation", "lock"), 4, "`lock.`, with the dot, is all that begins so"),
        (("--operation", "zzz."), 4, "There are agent., "),
        (("--last", "yesterday"), 2, "'yesterday' is no length of time"),
        (("--since", "yesterday"), 2, "2d for so long ago"),
        (("--until", "2026-11-20"), 2, "'2026-11-20' is no moment"),
        (("--since", "2999-01-01T00:00:00Z"), 2, "is still to come"),
        (("--last", "1h", "--until", "2h"), 2, "nothing is between"),
        (("--decision", "maybe"), 2, "decision must be"),
    ],
)
def test_what_cannot_fit_is_refused_with_what_would(
    here: Host, words: tuple[str, ...], code: int, says: str
) -> None:
    ran = here.run("audit", *words)

    assert (ran.code, says in ran.err) == (code, True), ran


@proves("TRAIL-007")
def test_lengths_of_time_are_meant_backwards(here: Host) -> None:
    here.ok("ls")

    assert _rows(here, "--since", "1h", "--operation", "agent_list")
    assert _rows(here, "--until", "1h") == []


@proves("TRAIL-003")
def test_tampering_beside_a_running_daemon_ends_verify_with_1(own: Host) -> None:
    own.ok("audit", "--prove", "1")
    with sqlite3.connect(own.state / "envmgr.db") as database:
        database.execute("DROP TRIGGER audit_no_update")
        database.execute("UPDATE audit SET outcome = 'ok', name = 'somebody' WHERE seq = 1")

    ran = own.run("audit", "--verify")

    assert ran.code == 1
    assert "row 1 is not as it was written" in ran.out
    assert "audit_no_update" in ran.out


@proves("TRAIL-008")
def test_kill_9_in_the_middle_of_writes_leaves_a_whole_trail_with_every_answered_change(own: Host) -> None:
    answered: list[str] = []

    def write(worker: int) -> None:
        with _http(own) as client:
            for number in range(10_000):
                name = f"w{worker}-{number}"
                body = {"summary": f"note {name}", "event_type": "discovery", "repo": str(own.repo)}
                try:
                    answer = client.post("/api/v1/memory", json=body, headers={"x-request-id": name})
                except httpx.HTTPError:
                    return
                assert answer.status_code == 200, answer.text
                answered.append(name)

    workers = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for worker in workers:
        worker.start()
    eventually(lambda: len(answered) >= 40, within_s=30)
    kill_daemon(own)
    for worker in workers:
        worker.join()

    assert own.ok("audit", "--verify", "--json").json["ok"]
    recorded = {json.loads(line)["request"] for line in own.ok("audit", "--export").out.splitlines()}
    assert set(answered) - recorded == set()


@proves("TRAIL-001")
def test_a_filter_that_can_fit_nothing_is_refused(here: Host) -> None:
    ran = here.run("audit", "--decision", "foo")

    assert (ran.code, "decision must be" in ran.err) == (2, True), ran.err


@proves("TRAIL-003")
def test_an_end_cut_off_with_its_checkpoints_and_their_number_is_missed_by_the_daemons_log(own: Host) -> None:
    own.ok("ls")
    own.ok("daemon", "stop")  # which seals
    own.ok("lock", "acquire", "a.py")
    own.ok("daemon", "stop")
    checkpoints = own.state / "audit" / "checkpoints.jsonl"
    *kept, _ = checkpoints.read_text(encoding="utf-8").splitlines(keepends=True)
    last = json.loads(kept[-1])
    checkpoints.write_text("".join(kept), encoding="utf-8")
    with contextlib.closing(sqlite3.connect(own.state / "envmgr.db", isolation_level=None)) as database:
        guards = dict(database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
        database.execute("DROP TRIGGER audit_no_delete")
        database.execute("DELETE FROM audit WHERE seq > ?", (last["last"],))
        database.execute(guards["audit_no_delete"])
        database.execute("UPDATE setting SET value = ? WHERE key = 'audit.sealed'", (str(last["number"]),))

    verified = own.run("audit", "verify", "--json")

    says = [one["says"] for one in verified.json["findings"]]
    assert verified.code == 1
    assert says == [f"the daemon's log tells of checkpoint {last['number'] + 1}, and it is not there"]
    assert last["root"]  # as it was signed
