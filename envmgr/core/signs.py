"""What programs write when something goes wrong, and what it means: the messages of node, python, go, java, databases, Docker.

A sign weighs what it would be worth alone. Advice may name groups of its pattern, as in `{port}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from envmgr.model.incident import FailureClass

_IGNORE = re.IGNORECASE
_PLACE = r"(?P<host>localhost|127\.\d+\.\d+\.\d+|::1|\[::1\])"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """One kind of message."""

    failure: FailureClass
    weight: float
    pattern: re.Pattern[str]
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A sign in a line; `advice` is filled in."""

    sign: Sign
    line: str
    advice: str


def _sign(failure: FailureClass, weight: float, pattern: str, advice: str = "") -> Sign:
    return Sign(failure=failure, weight=weight, pattern=re.compile(pattern, _IGNORE), advice=advice)


_WATCHES = "Too few inotify watches, not a full disk: raise `fs.inotify.max_user_watches` with sysctl, or watch fewer folders."
_INSTANCES = "Raise `fs.inotify.max_user_instances` with sysctl, or end watchers that nobody needs."
_FILES = "Raise `limits.nofile` of the service (`ulimit -n`), or look for files that are never closed."
_TASKS = "Raise `limits.pids` (`ulimit -u`, `kernel.pid_max`), or look for processes that are never ended."
FULL = (
    "Free disk space: `envmgr reap --dry-run` shows what envmgr can give back, `df -h` and `df -i` the rest."
)
_HEAP = "It used up its own heap: raise it (`--max-old-space-size`, `-Xmx`) together with `limits.memory`."
_INSTALL = "Install what it imports in the worktree ({what})."
_ACCESS = "Compare user, password and database of the two services in the template."

OF_SERVICES: tuple[Sign, ...] = (
    # The watches first: the word for them is the one for a full disk.
    _sign(FailureClass.DESCRIPTORS, 0.97, r"ENOSPC\b.*(file watchers|inotify|\bwatch\b)|inotify.*(no space left|limit)|max_user_watches", _WATCHES),
    _sign(FailureClass.DESCRIPTORS, 0.97, r"EMFILE\b.*\bwatch\b|inotify_init.*too many open files|max_user_instances", _INSTANCES),
    _sign(FailureClass.DESCRIPTORS, 0.9, r"\bEMFILE\b|\bENFILE\b|too many open files", _FILES),
    _sign(FailureClass.DESCRIPTORS, 0.85, r"(fork|clone|pthread_create|spawn|thread)\b.*(\bEAGAIN\b|resource temporarily unavailable)|unable to create( new)? native thread|can't start new thread", _TASKS),
    _sign(FailureClass.DISK, 0.9, r"\bENOSPC\b|no space left on device|\bEDQUOT\b|disk quota exceeded|database or disk is full", FULL),
    _sign(FailureClass.PORT_CONFLICT, 0.9, r"\bEADDRINUSE\b|address already in use|port is already allocated|ports are not available|(port \d+ (is|was) )already in use", "Let the service listen on the port it is given (`PORT`), or end whoever has it."),
    _sign(FailureClass.MEMORY, 0.85, r"java\.lang\.OutOfMemoryError|JavaScript heap out of memory|\bOutOfMemory\b", _HEAP),
    _sign(FailureClass.MEMORY, 0.8, r"^(fatal error: runtime: )?out of memory|runtime: out of memory|^MemoryError\b|cannot allocate memory|\bENOMEM\b|memory cgroup out of memory|oom-kill", "Raise `limits.memory` of the service, or make it need less."),
    _sign(FailureClass.ENGINE, 0.85, r"cannot connect to the docker daemon|docker daemon is not running|/var/run/docker\.sock: connect:", "Start the container engine; nothing is repaired until it answers."),
    _sign(FailureClass.NETWORK, 0.8, r"toomanyrequests|pull rate limit|unauthorized: authentication required|TLS handshake timeout|proxyconnect", "The registry or proxy refuses: log in with `docker login`, or wait for its limit to pass."),
    _sign(FailureClass.NETWORK, 0.75, r"\bENOTFOUND\b|\bEAI_AGAIN\b|name or service not known|temporary failure in name resolution|no such host|UnknownHostException|could not resolve host|could not translate host name", "A name cannot be resolved: look at the network, a proxy, or a mistake in the name."),
    _sign(FailureClass.NETWORK, 0.7, r"\bENETUNREACH\b|\bEHOSTUNREACH\b|network is unreachable|no route to host|\bETIMEDOUT\b|certificate has expired|self.signed certificate", "The outside cannot be reached from here: look at the network, a proxy, or certificates."),
    _sign(FailureClass.CONFIGURATION, 0.9, r"FATAL CONFIG FILE ERROR|unrecognized configuration parameter|invalid value for parameter|\[emerg\]", "Mend its configuration; it says where."),
    _sign(FailureClass.CONFIGURATION, 0.9, r"bind source path does not exist|invalid mount config|invalid reference format|manifest (for .* )?(not found|unknown)|no such image|pull access denied|executable file not found|exec format error", "Mend `image`, `build`, `command` or `volumes` in the template."),
    _sign(FailureClass.CONFIGURATION, 0.85, r"superuser password is not specified|(missing|required) environment variable|environment variable \S+ (is )?(not set|missing|required)|\S+: parameter (not set|null or not set)", "Give it the variable in the template's `env` or `secrets`."),
    _sign(FailureClass.CONFIGURATION, 0.7, r"(?:FATAL|error).*(password authentication failed|role \S+ does not exist|database \S+ does not exist|NOAUTH|WRONGPASS)", _ACCESS),
    # Its address is a neighbour's: look there.
    _sign(FailureClass.DEPENDENCY, 0.65, rf"(\bECONNREFUSED\b|connection refused|connect to|connection to).*{_PLACE}\W+(port )?(?P<port>\d+)(?!.*(already in use))", "What it needs at {host}:{port} does not answer: look at that service first."),
    _sign(FailureClass.NETWORK, 0.55, r"\bECONNREFUSED\b|connection refused|\bECONNRESET\b|connection reset by peer", "Something it needs does not answer."),
    # Below here the code is broken: a restart may help once, an edit helps for good.
    _sign(FailureClass.CRASH, 0.5, r"Cannot find (module|package) '(?P<what>[^']+)'|No module named '(?P<what2>[^']+)'|ClassNotFoundException: (?P<what3>\S+)", _INSTALL),
    _sign(FailureClass.CRASH, 0.5, r"\b(Syntax|Indentation|Reference|Type|Name|Value|Key|Import|Attribute|Assertion|Runtime)Error\b|Traceback \(most recent call last\)|^panic: |^fatal error: |Exception in thread|segmentation fault|core dumped|UnhandledPromiseRejection|uncaught exception|^Error: ", "Look at the last lines of its log; its code has failed."),
)  # fmt: skip

OF_ASSISTANTS: tuple[Sign, ...] = (
    _sign(FailureClass.ASSISTANT, 0.9, r"invalid api key|please run /login|not logged in|oauth token (has )?(expired|been revoked)|authentication_error|credit balance is too low|spend(ing)? (cap|limit) reached|\b401\b.*(unauthorized|authentication)"),
    _sign(FailureClass.ASSISTANT, 0.85, r"(usage|session|weekly|rate|5-hour)[ -]limit (reached|exceeded|hit)|hit your (\S+ )?limit|rate_limit_error|overloaded_error|\b429\b|too many requests"),
    _sign(FailureClass.ASSISTANT, 0.8, r"enter to (confirm|select|continue)|do you want to |trust this folder|select login method|paste code here"),
)  # fmt: skip
AUTH, LIMIT, DIALOG = OF_ASSISTANTS
RESET = re.compile(r"reset\w*\s+(?:at |in )?(?P<when>[^.|\n]{1,40})", _IGNORE)


def find(signs: Sequence[Sign], lines: Sequence[str]) -> Iterator[Found]:
    """Each sign at most once, in its latest line; a line speaks for the first sign that it shows, so order counts."""
    seen: set[Sign] = set()
    for line in reversed(lines):
        for sign in signs:
            if match := sign.pattern.search(line):
                if sign not in seen:
                    seen.add(sign)
                    yield Found(sign=sign, line=line.strip(), advice=_advice(sign, match))
                break


def _advice(sign: Sign, match: re.Match[str]) -> str:
    known = {name.rstrip("0123456789"): text for name, text in match.groupdict().items() if text}
    return sign.advice.format_map(known) if known else sign.advice
