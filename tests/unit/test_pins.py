"""requirements.txt pins what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib

from tests.support.requirements import ROOT, proves

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==[0-9][A-Za-z0-9.]*$")


def _lines() -> list[str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@proves("HOUSE-003")
def test_every_line_is_one_exact_pin() -> None:
    odd = [line for line in _lines() if not _PIN.match(line)]

    assert odd == []


@proves("HOUSE-003")
def test_everything_asked_for_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    names = {_plain(re.split(r"[<>=\[; ]", line)[0]) for line in asked}

    pinned = {_plain(line.split("==")[0]) for line in _lines()}

    assert names - pinned == set()
