"""What failures are taken for. The outputs are what node 20, python 3.11, java 17, postgres 15, redis 7 and docker really wrote."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from envmgr.core.classify import ENTRIES, diagnose
from envmgr.core.fingerprints import error_lines, fingerprint, normal
from envmgr.core.ladder import HELPS
from envmgr.model.incident import FailureClass, Part, Rung, Symptom
from tests.support.requirements import proves

NODE_PORT = """\
node:events:502
      throw er; // Unhandled 'error' event
      ^

Error: listen EADDRINUSE: address already in use :::29992
    at Server.setupListenHandle [as _listen2] (node:net:1908:16)
"""
PYTHON_PORT = """\
Traceback (most recent call last):
  File "/root/.pyenv/versions/3.11.7/lib/python3.11/socketserver.py", line 472, in server_bind
    self.socket.bind(self.server_address)
OSError: [Errno 98] Address already in use
"""
JAVA_PORT = """\
Exception in thread "main" java.net.BindException: Address already in use
\tat java.base/sun.nio.ch.Net.bind0(Native Method)
"""
POSTGRES_PORT = """\
2026-11-20 11:55:16.304 UTC [31] LOG:  could not bind IPv4 address "127.0.0.1": Address already in use
2026-11-20 11:55:16.304 UTC [31] HINT:  Is another postmaster already running on port 5499? If not, wait a few seconds and retry.
2026-11-20 11:55:16.304 UTC [31] FATAL:  could not create any TCP/IP sockets
"""
REDIS_PORT = """\
14:M 20 Nov 2026 11:44:57.174 # Warning: Could not create server TCP listening socket *:6399: bind: Address already in use
14:M 20 Nov 2026 11:44:57.174 # Failed listening on port 6399 (TCP), aborting.
"""
NODE_DISK = "Error: ENOSPC: no space left on device, write\n    at Object.writeFileSync (node:fs:2380:20)\n"
PYTHON_DISK = (
    "Traceback (most recent call last):\n"
    '  File "<string>", line 2, in <module>\n'
    "OSError: [Errno 28] No space left on device\n"
)
NODE_WATCHES = "Error: ENOSPC: System limit for number of file watchers reached, watch '/srv/app/src'\n"
NODE_FILES = "Error: EMFILE: too many open files, open '/dev/null'\n"
PYTHON_FILES = "OSError: [Errno 24] Too many open files: '/dev/null'\n"
PYTHON_FORK = "BlockingIOError: [Errno 11] Resource temporarily unavailable: fork\n"
NODE_HEAP = "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n"
JAVA_HEAP = 'Exception in thread "main" java.lang.OutOfMemoryError: Java heap space\n\tat P.main(P.java:1)\n'
PYTHON_MEMORY = 'Traceback (most recent call last):\n  File "<string>", line 2, in <module>\nMemoryError\n'
NODE_DNS = "Error: getaddrinfo ENOTFOUND no-such.invalid\n"
PYTHON_DNS = "urllib.error.URLError: <urlopen error [Errno -2] Name or service not known>\n"
JAVA_DNS = 'Exception in thread "main" java.net.UnknownHostException: no-such.invalid\n'
NODE_REFUSED = "Error: connect ECONNREFUSED 127.0.0.1:5432\n"
PSQL_REFUSED = (
    'psql: error: connection to server at "127.0.0.1", port 5432 failed: Connection refused\n'
    "\tIs the server running on that host and accepting TCP/IP connections?\n"
)
REDIS_CONFIG = """\
*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***
Reading the configuration file, at line 2
>>> 'nosuch "1"'
Bad directive or wrong number of arguments
"""
POSTGRES_CONFIG = '2026-11-20 11:55:15.224 GMT [20] FATAL:  unrecognized configuration parameter "nosuch"\n'
POSTGRES_DATABASE = '2026-11-20 11:55:16.317 UTC [33] FATAL:  database "nosuch" does not exist\n'
PYTHON_BUG = """\
Traceback (most recent call last):
  File "<string>", line 4, in <module>
  File "<string>", line 3, in f
ValueError: boom 12
"""
NODE_BUG = "Error: boom\n    at [eval]:1:16\n    at runScriptInThisContext (node:internal/vm:209:10)\n"
NODE_MODULE = "Error: Cannot find module 'express'\nRequire stack:\n- /srv/app/server.js\n"
PYTHON_MODULE = "ModuleNotFoundError: No module named 'flask'\n"
DOCKER_PORT = (
    "driver failed programming external connectivity on endpoint web: "
    "Bind for 127.0.0.1:29995 failed: port is already allocated"
)
DOCKER_BIND = 'invalid mount config for type "bind": bind source path does not exist: /srv/app/nosuch/file2'
DOCKER_EXEC = (
    "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "
    'exec: "nosuch": executable file not found in $PATH: unknown'
)


def service(output: str = "", **facts: Any) -> Symptom:  # fields of Symptom by name
    ended = {"exit_code": 1} if not facts.keys() & {"exit_code", "exit_signal", "is_hang", "error"} else {}
    return Symptom(
        part=Part.SERVICE,
        subject="api",
        words="api ended",
        at=5.0,
        output=tuple(output.splitlines()),
        **{**ended, **facts},
    )


@proves("CLASS-001")
@pytest.mark.parametrize(
    ("output", "failure"),
    [
        (NODE_PORT, FailureClass.PORT_CONFLICT),
        (PYTHON_PORT, FailureClass.PORT_CONFLICT),
        (JAVA_PORT, FailureClass.PORT_CONFLICT),
        (POSTGRES_PORT, FailureClass.PORT_CONFLICT),
        (REDIS_PORT, FailureClass.PORT_CONFLICT),
        (NODE_DISK, FailureClass.DISK),
        (PYTHON_DISK, FailureClass.DISK),
        (NODE_WATCHES, FailureClass.DESCRIPTORS),
        (NODE_FILES, FailureClass.DESCRIPTORS),
        (PYTHON_FILES, FailureClass.DESCRIPTORS),
        (NODE_HEAP, FailureClass.MEMORY),
        (JAVA_HEAP, FailureClass.MEMORY),
        (PYTHON_MEMORY, FailureClass.MEMORY),
        (NODE_DNS, FailureClass.NETWORK),
        (PYTHON_DNS, FailureClass.NETWORK),
        (JAVA_DNS, FailureClass.NETWORK),
        (NODE_REFUSED, FailureClass.DEPENDENCY),
        (PSQL_REFUSED, FailureClass.DEPENDENCY),
        (REDIS_CONFIG, FailureClass.CONFIGURATION),
        (POSTGRES_CONFIG, FailureClass.CONFIGURATION),
        (POSTGRES_DATABASE, FailureClass.CONFIGURATION),
        (PYTHON_BUG, FailureClass.CRASH),
        (NODE_BUG, FailureClass.CRASH),
        (NODE_MODULE, FailureClass.CRASH),
        (PYTHON_MODULE, FailureClass.CRASH),
    ],
)
def test_what_programs_write_tells_the_class(output: str, failure: FailureClass) -> None:
    found = diagnose(service(output))
    assert (found.failure, found.entry) == (failure, ENTRIES[failure])
    assert found.evidence[0].source == "log"
    assert found.evidence[0].text in output


@proves("CLASS-001")
@pytest.mark.parametrize(
    ("facts", "failure"),
    [
        ({"exit_code": 3}, FailureClass.CRASH),
        ({"exit_signal": "SIGSEGV"}, FailureClass.CRASH),
        ({"exit_code": 127}, FailureClass.CONFIGURATION),
        ({"exit_code": 126}, FailureClass.CONFIGURATION),
        ({"exit_code": 78}, FailureClass.CONFIGURATION),
        ({"error": "No such file or directory: npm"}, FailureClass.CONFIGURATION),
        ({"error": DOCKER_EXEC}, FailureClass.CONFIGURATION),
        ({"error": DOCKER_BIND}, FailureClass.CONFIGURATION),
        ({"error": DOCKER_PORT}, FailureClass.PORT_CONFLICT),
        ({"error": "fork: Resource temporarily unavailable"}, FailureClass.DESCRIPTORS),
        ({"out_of_memory": True, "exit_code": 137}, FailureClass.MEMORY),
        ({"over_limit": "over its memory limit of 64 MB"}, FailureClass.MEMORY),
        ({"over_limit": "over its limit of 5 processes"}, FailureClass.DESCRIPTORS),
        ({"foreign": "pid 7 (nc -l)"}, FailureClass.PORT_CONFLICT),
        ({"is_hang": True}, FailureClass.HANG),
        ({"is_hang": True, "host_is_strained": True}, FailureClass.HOST),
        ({"waits_for": "db"}, FailureClass.DEPENDENCY),
        ({"disk_is_full": True}, FailureClass.DISK),
    ],
)
def test_facts_tell_the_class(facts: dict[str, Any], failure: FailureClass) -> None:
    assert diagnose(service(**facts)).failure is failure


@proves("CLASS-001")
@pytest.mark.parametrize(
    ("part", "failure", "entry"),
    [
        (Part.SESSION, FailureClass.SESSION, Rung.SESSION),
        (Part.WORKSPACE, FailureClass.WORKSPACE, Rung.RESPAWN),
        (Part.ENGINE, FailureClass.ENGINE, Rung.WAIT),
        (Part.HOST, FailureClass.HOST, Rung.WAIT),
    ],
)
def test_other_parts_are_their_own_class(part: Part, failure: FailureClass, entry: Rung) -> None:
    found = diagnose(Symptom(part=part, words="it is gone", at=1.0))
    assert (found.failure, found.entry) == (failure, entry)


@proves("CLASS-001")
def test_what_nobody_can_explain_is_unknown_and_unsure() -> None:
    found = diagnose(Symptom(part=Part.SERVICE, subject="api", words="api is not ready", at=1.0))
    assert (found.failure, found.entry, found.confidence) == (FailureClass.UNKNOWN, Rung.SERVICE, 0.2)
    assert [one.text for one in found.evidence] == ["api is not ready"]


@proves("CLASS-002")
def test_facts_outweigh_words_and_the_strongest_evidence_comes_first() -> None:
    found = diagnose(service(PYTHON_BUG, foreign="pid 7 (nc -l)"))
    assert found.failure is FailureClass.PORT_CONFLICT
    assert [one.source for one in found.evidence] == ["port", "log", "exit", "envmgr"]
    assert found.confidence == 0.98


@proves("CLASS-002")
def test_evidence_that_agrees_makes_surer() -> None:
    alone, both = diagnose(service(NODE_DISK)), diagnose(service(NODE_DISK, disk_is_full=True))
    assert alone.confidence == 0.9
    assert both.confidence == 0.99


@proves("CLASS-002")
def test_a_kill_from_outside_is_a_crash_until_it_comes_again_and_again() -> None:
    once = diagnose(service(exit_signal="SIGKILL"))
    behind_a_shell = diagnose(service(exit_code=137))
    again = diagnose(service(exit_signal="SIGKILL", is_exhausted=True))
    assert (once.failure, behind_a_shell.failure) == (FailureClass.CRASH, FailureClass.CRASH)
    assert (again.failure, again.entry) == (FailureClass.MEMORY, Rung.REALLOCATE)


@proves("CLASS-003")
@pytest.mark.parametrize(
    ("symptom", "says"),
    [
        (service(NODE_WATCHES), "fs.inotify.max_user_watches"),
        (service(NODE_FILES), "ulimit -n"),
        (service(foreign="pid 7 (nc -l)"), "pid 7 (nc -l)"),
        (service(NODE_REFUSED), "127.0.0.1:5432"),
        (service(PSQL_REFUSED), "look at that service first"),
        (service(NODE_MODULE), "(express)"),
        (service(PYTHON_MODULE), "(flask)"),
        (service(NODE_DISK), "df -h"),
        (service("first\nsecond\nthird\n"), "second | third"),
        (service(waits_for="db"), "Look at db first."),
    ],
)
def test_the_advice_names_what_a_person_needs(symptom: Symptom, says: str) -> None:
    assert says in diagnose(symptom).advice


@proves("CLASS-004", "R-26")
@pytest.mark.parametrize(
    ("screen", "entry", "says"),
    [
        ("Claude usage limit reached. Your limit will reset at 3pm (UTC).", Rung.WAIT, "until 3pm (UTC)"),
        ("API Error: 429 rate_limit_error", Rung.WAIT, "nothing to do but wait"),
        ("Invalid API key · Please run /login", Rung.PERSON, "Log in again"),
        ("OAuth token has expired", Rung.PERSON, "Log in again"),
        ("Credit balance is too low", Rung.PERSON, "Log in again"),
    ],
)
def test_limits_and_logins_of_an_assistant_are_no_crash(screen: str, entry: Rung, says: str) -> None:
    ended = Symptom(part=Part.ASSISTANT, words="it exited", at=1.0, exit_code=1, output=("some work", screen))
    found = diagnose(ended)
    assert (found.failure, found.entry) == (FailureClass.ASSISTANT, entry)
    assert says in found.advice


@proves("CLASS-004", "R-26")
def test_a_dialog_waits_for_a_person_and_an_interrupt_was_one() -> None:
    asks = Symptom(
        part=Part.ASSISTANT, words="silent", at=1.0, output=("Do you want to proceed?", "Enter to confirm")
    )
    assert diagnose(asks).entry is Rung.WAIT
    stopped = Symptom(part=Part.ASSISTANT, words="it exited", at=1.0, exit_signal="SIGINT")
    assert diagnose(stopped).entry is Rung.PERSON
    assert diagnose(replace(stopped, exit_signal=None, exit_code=130)).entry is Rung.PERSON


@proves("CLASS-004", "R-26")
def test_an_assistant_that_was_killed_is_brought_back_whatever_it_was_working_on() -> None:
    killed = Symptom(
        part=Part.ASSISTANT,
        words="it exited",
        at=1.0,
        exit_signal="SIGKILL",
        output=("handle 429 too many requests", "Do you want to proceed?", "Enter to confirm"),
    )
    assert (diagnose(killed).failure, diagnose(killed).entry) == (FailureClass.ASSISTANT, Rung.SESSION)
    old_words = ("rate_limit_error", *(f"line {n}" for n in range(20)))
    crashed = replace(killed, exit_signal=None, exit_code=1, output=old_words)
    assert diagnose(crashed).entry is Rung.SESSION


@proves("CLASS-005")
def test_a_fingerprint_is_that_of_the_failure_not_of_the_launch() -> None:
    one = "2026-11-20T11:55:15.224Z [20] Error: job 4711 of /tmp/agent-a/w/app.py:12 failed at 0x7ffe12ab: port 20001"
    two = "2026-11-21T01:02:03.999Z [97] Error: job 12 of /home/b/other/app.py:98 failed at 0x55d0aa01: port 23917"
    other = "2026-11-20T11:55:15.224Z [20] Error: no job of /tmp/agent-a/w/app.py:12"
    assert fingerprint([one], "x") == fingerprint([two], "x") != fingerprint([other], "x")
    assert diagnose(service(one)).fingerprint == diagnose(service(two)).fingerprint
    assert diagnose(service(one)).fingerprint != diagnose(service(one, exit_code=9)).fingerprint


@proves("CLASS-005")
@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("\x1b[31mError:\x1b[0m  bad   thing 12", "error: bad thing <n>"),
        ("[Fri Nov 20 11:55:15] user 3f2504e0-4f89-41d3-9a0c-0305e82c3301", "[ <n> <n>] user <id>"),
        ("at deadbeef01 of /a/b/c.js:10:4", "at <hex> of c.js:<n>"),
    ],
)
def test_what_differs_from_launch_to_launch_is_taken_out(line: str, same: str) -> None:
    assert normal(line) == same


@proves("CLASS-005")
def test_lines_that_tell_of_an_error_are_preferred() -> None:
    assert error_lines(["starting", "Error: a", "bye"]) == ("Error: a",)
    assert error_lines(["one", "", "two"]) == ("one", "two")


@proves("CLASS-001")
def test_every_class_has_an_entry_that_the_ladder_can_take() -> None:
    assert set(ENTRIES) == set(FailureClass) == set(HELPS)
    for failure, entry in ENTRIES.items():
        assert entry in (Rung.WAIT, Rung.PERSON) or entry in HELPS[failure]
