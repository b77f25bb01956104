from __future__ import annotations

from pathlib import Path

import pytest

from envmgr.bootstrap.lock_rules import LockRules
from envmgr.config.locks import Locks
from envmgr.config.settings import Settings, load
from envmgr.errors import ConfigError
from tests.support.requirements import proves


def _keys(rules: LockRules, repo: Path) -> list[str]:
    return [rule.key for rule in rules(str(repo))]


@proves("LOCK-TARGET-005")
def test_each_repository_has_its_own_rules_and_may_change_them(tmp_path: Path) -> None:
    rules = LockRules(Settings(locks=Locks(rules=("db/** -> db:*",))), fresh_s=0)
    file = tmp_path / ".envmgr.toml"
    other = tmp_path / "other"
    other.mkdir()
    file.write_text('[locks]\nrules = ["migrations/** -> db:migration-slot"]\n', encoding="utf-8")

    assert _keys(rules, tmp_path) == ["db:migration-slot"]
    assert _keys(rules, other) == ["db:*"]

    file.write_text('[locks]\nrules = ["x -> env:X", "y -> env:Y"]\n', encoding="utf-8")
    assert _keys(rules, tmp_path) == ["env:X", "env:Y"]

    file.write_text("[locks]\nrules = 1\n", encoding="utf-8")
    assert _keys(LockRules(Settings(locks=Locks(rules=("db/** -> db:*",)))), tmp_path) == ["db:*"]
    assert _keys(rules, tmp_path) == ["env:X", "env:Y"]


@proves("LOCK-TARGET-005")
def test_a_rule_that_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / ".envmgr.toml").write_text(
        '[locks]\nrules = [\n  "a -> db:x",\n  "a -> b",\n]\n', encoding="utf-8"
    )

    with pytest.raises(ConfigError) as refused:
        load({"HOME": str(tmp_path)}, repo=tmp_path, system=tmp_path / "none")

    assert ".envmgr.toml:2:9: locks.rules[1]" in refused.value.message
    assert "b is a path" in refused.value.message


@proves("LOCK-TARGET-005")
def test_rules_of_the_host_come_from_a_variable_too(tmp_path: Path) -> None:
    variables = {"HOME": str(tmp_path), "ENVMGR_LOCKS__RULES": '["a -> db:x", "b -> db:y"]'}

    loaded = load(variables, system=tmp_path / "none")

    assert loaded.settings.locks.rules == ("a -> db:x", "b -> db:y")
