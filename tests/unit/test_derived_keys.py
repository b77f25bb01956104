from __future__ import annotations

import pytest

from envmgr.core.derived_keys import derived, parse_rule
from envmgr.core.targets import parse_target
from envmgr.errors import UsageError
from tests.support.requirements import proves

_RULES = [
    "migrations/** -> db:migration-slot",
    "openapi/*.yaml -> contract:{path}",
    "src/events/*.py -> event:*",
    "flags/** -> flag:{path}",
]


def _keys(*targets: str) -> list[str]:
    return [
        key.text for key in derived([parse_target(text) for text in targets], list(map(parse_rule, _RULES)))
    ]


@proves("LOCK-TARGET-005")
@pytest.mark.parametrize(
    ("locked", "keys"),
    [
        ("migrations/0001.sql", ["db:migration-slot"]),
        ("migrations", ["db:migration-slot"]),
        ("openapi/v1.yaml", ["contract:openapi/v1.yaml"]),
        ("openapi", ["contract:openapi"]),
        ("src/events/user.py", ["event:*"]),
        ("flags/a b.toml", ["flag:flags/a?b.toml"]),
        ("**", ["db:migration-slot", "contract:**", "event:*", "flag:**"]),
        ("README.md", []),
        ("db:users", []),
    ],
)
def test_a_lock_of_files_takes_the_keys_of_their_rules(locked: str, keys: list[str]) -> None:
    assert _keys(locked) == [parse_target(key).text for key in keys]


@proves("LOCK-TARGET-005")
def test_a_key_is_taken_once_and_not_beside_itself() -> None:
    assert _keys("migrations/1.sql", "migrations/2.sql", "db:migration-slot") == []
    assert _keys("migrations/1.sql", "migrations/2.sql") == ["db:migration-slot"]


@proves("LOCK-TARGET-005")
@pytest.mark.parametrize(
    "text",
    ["", "migrations/**", "db:users -> db:migration-slot", "src -> web", "../x -> db:users", "src -> db:"],
)
def test_a_rule_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_rule(text)
