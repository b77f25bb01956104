"""Variables: what an agent inherits, what env files say, and which names usually hold secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from envmgr.config.files import read_text
from envmgr.config.problems import BadFile, Mark, Problem

_INHERITED = frozenset(
    {
        *(
            "PATH",
            "HOME",
            "USER",
            "LOGNAME",
            "SHELL",
            "LANG",
            "LANGUAGE",
            "TZ",
            "TMPDIR",
            "SSH_AUTH_SOCK",
            "COLORTERM",
        ),
        *(
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "NO_PROXY",
            "ALL_PROXY",
            "http_proxy",
            "https_proxy",
            "no_proxy",
            "all_proxy",
        ),
        # Else what an agent does with containers happens in another engine than its services run in.
        *("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_CONTEXT", "DOCKER_CONFIG"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"),
    }
)
_INHERITED_FAMILIES = ("LC_", "XDG_")
# Of the person's login, not of an agent that outlives it.
_NOT_INHERITED = frozenset(
    {"XDG_SESSION_ID", "XDG_SEAT", "XDG_VTNR", "XDG_SESSION_CLASS", "XDG_SESSION_TYPE"}
)
_SECRET = re.compile(r"(^|_)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?)$", re.IGNORECASE)


def looks_secret(name: str) -> bool:
    """Whether a variable of this name usually holds a secret."""
    return bool(_SECRET.search(name)) and not name.upper().endswith("PUBLIC_KEY")


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of a person's environment that agents get. Everything else is named by the template or stays out."""
    return {
        name: value
        for name, value in environment.items()
        if name in _INHERITED or (name.startswith(_INHERITED_FAMILIES) and name not in _NOT_INHERITED)
    }


_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*")
_QUOTED = re.compile(r"""'([^']*)'\s*(?:#.*)?|"((?:[^"\\]|\\.)*)"\s*(?:#.*)?""")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def read_env_file(path: Path, shown: str) -> dict[str, str]:
    """NAME=value lines: comments, `export`, 'literal' and "escaped" values. Values are taken as they are, without expansion.

    Raises:
        ConfigError: Not there, or a line is none of these.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(read_text(path, shown).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pair = _LINE.fullmatch(line)
        if pair is None:
            problem = Problem(
                mark=Mark(shown, number, 1), message="not a NAME=value line", hint="Comments start with #."
            )
            raise BadFile([problem])
        found[pair[1]] = _value(pair[2], Mark(shown, number, pair.start(2) + 1))
    return found


def _value(text: str, mark: Mark) -> str:
    if text[:1] not in ("'", '"'):
        return re.sub(r"(^|\s+)#.*", "", text)
    quoted = _QUOTED.fullmatch(text)
    if quoted is None:
        raise BadFile(
            [
                Problem(
                    mark=mark,
                    message="the quote is not closed on this line",
                    hint="Close it; write \\n for a line break.",
                )
            ]
        )
    if quoted[1] is not None:
        return quoted[1]
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), quoted[2])
