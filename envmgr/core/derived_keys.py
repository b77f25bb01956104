"""Keys that follow from paths: rules of a repository such as `migrations/** -> db:migration-slot`."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from envmgr.core.overlap import overlap
from envmgr.core.targets import Target, parse_target
from envmgr.errors import UsageError

PATH = "{path}"
"""In the key of a rule: the path as it was locked."""

_HOW = "Such as `migrations/** -> db:migration-slot`, or `openapi/*.yaml -> contract:{path}`."


@dataclass(frozen=True, slots=True)
class Rule:
    """Who locks something of `paths` locks `key`, too; `{path}` in it stands for what is locked."""

    paths: Target
    key: str


@functools.lru_cache(maxsize=1024)
def parse_rule(text: str) -> Rule:
    """Read `PATHS -> KEY`.

    Raises:
        UsageError: It is not written so, the left side is no path, or the right side no key.
    """
    left, arrow, right = (part.strip() for part in text.partition("->"))
    if not arrow:
        raise UsageError(f"no rule: {text[:80]}", hint=_HOW)
    paths = parse_target(left)
    if not paths.is_path:
        raise UsageError(f"{left} is a key: rules begin with paths", hint=_HOW)
    rule = Rule(paths, right)
    if _key(rule, parse_target("some/file.txt")).is_path:
        raise UsageError(f"{right} is a path: rules end with keys", hint=_HOW)
    return rule


def derived(targets: Iterable[Target], rules: Sequence[Rule]) -> tuple[Target, ...]:
    """Keys that have to be locked beside these targets; none of the targets, and none twice."""
    given = tuple(targets)
    found = dict.fromkeys(
        _key(rule, target)
        for target in given
        for rule in rules
        if target.is_path and overlap(target, rule.paths) is not None
    )
    return tuple(key for key in found if key not in given)


def _key(rule: Rule, target: Target) -> Target:
    if PATH not in rule.key:
        return parse_target(rule.key)
    path = target.text.removeprefix("./")
    if not rule.key.startswith("contract:"):  # other keys are words
        path = re.sub(r"[\s:]", "?", path.rstrip("/"))
    return parse_target(rule.key.replace(PATH, path))
