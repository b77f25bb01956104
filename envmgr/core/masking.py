"""Take secrets out of text that is kept or shown: known values, and what looks like one."""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "********"
_SHORTEST = 4
_NAMES = r"(?:[A-Z0-9_.-]*(?:PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|CREDENTIALS?))"
_SHAPES = (
    (re.compile(rf"(?P<keep>\b{_NAMES}[\"']?\s*[=:]\s*[\"']?)(?P<secret>[^\s\"',;&]+)", re.IGNORECASE)),
    (re.compile(rf"(?P<keep>--{_NAMES}[= ])(?P<secret>\S+)", re.IGNORECASE)),
    (re.compile(r"(?P<keep>\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)(?P<secret>[^\s/@]+)(?=@)", re.IGNORECASE)),
    (re.compile(r"(?P<keep>\b(?:Bearer|Basic)\s+)(?P<secret>[A-Za-z0-9._~+/=-]{8,})", re.IGNORECASE)),
    (
        re.compile(
            r"(?P<keep>)(?P<secret>\b(?:sk-[A-Za-z0-9_-]{8,}|gh[opsur]_\w{16,}|github_pat_\w{16,}|AKIA[0-9A-Z]{16}|xox[abps]-[\w-]{8,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+))"
        )
    ),
)


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name is likely to hold a secret."""
    return re.fullmatch(_NAMES, name, re.IGNORECASE) is not None


def masked(text: str, values: Iterable[str] = ()) -> str:
    """The text without these values, and without what has the shape of a secret.

    The shapes are for secrets that nobody here knows: those of the program itself, or, after a restart of the daemon, those
    that came from the environment of a person.
    """
    for value in sorted({value for value in values if len(value) >= _SHORTEST}, key=len, reverse=True):
        text = text.replace(value, MASK)
    for shape in _SHAPES:
        text = shape.sub(rf"\g<keep>{MASK}", text)
    return text
