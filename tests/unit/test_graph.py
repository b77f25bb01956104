from __future__ import annotations

import pytest

from envmgr.core import graph
from envmgr.errors import ConfigError

DIAMOND = {"web": ["api", "assets"], "api": ["db"], "assets": [], "db": []}


def test_levels_need_only_what_came_before_and_keep_the_order_of_declaration() -> None:
    assert graph.levels(DIAMOND) == (("assets", "db"), ("api",), ("web",))


def test_stopping_goes_the_other_way() -> None:
    assert graph.start_order(DIAMOND) == ("assets", "db", "api", "web")
    assert graph.stop_order(DIAMOND) == ("web", "api", "db", "assets")


def test_a_cycle_is_named_from_its_first_member_around() -> None:
    edges = {"x": ["a"], "a": ["b"], "b": ["c"], "c": ["a"]}

    assert graph.find_cycle(edges) == ("a", "b", "c", "a")
    with pytest.raises(ConfigError, match="a -> b -> c -> a"):
        graph.levels(edges)


def test_needing_oneself_is_a_cycle() -> None:
    assert graph.find_cycle({"a": ["a"]}) == ("a", "a")


def test_names_that_are_not_declared_do_not_matter() -> None:
    assert graph.levels({"a": ["ghost"]}) == (("a",),)


def test_a_chain_longer_than_the_stack_is_no_trouble() -> None:
    chain = {str(n): [str(n + 1)] for n in range(5000)}

    assert graph.find_cycle(chain) == ()


def test_closure_and_dependants() -> None:
    assert graph.closure(DIAMOND, ["api"]) == {"api", "db"}
    assert graph.dependants(DIAMOND)["db"] == ("api",)
