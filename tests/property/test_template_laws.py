"""Laws of merging, references and units, for inputs nobody thought of."""

from __future__ import annotations

import contextlib
import itertools
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envmgr.config.merging import merge, settle
from envmgr.config.nodes import Items, Leaf, Node, Table, plain, text_leaf
from envmgr.config.problems import BadFile, Mark
from envmgr.config.templates.container_building import words
from envmgr.config.toml_source import read_toml
from envmgr.config.units import seconds, size_bytes
from envmgr.config.yaml_source import read_yaml
from envmgr.core import graph
from envmgr.core.placeholders import (
    BadPlaceholder,
    Literal,
    Part,
    Reference,
    Variable,
    escape,
    fill_shell,
    parse,
    references,
    render,
)
from tests.support.requirements import proves

MARK = Mark("f", 1, 1)
KEYS = st.sampled_from(["a", "b", "c", "http", "tcp"])


def table(items: dict[str, Node]) -> Table:
    return Table(MARK, items, dict.fromkeys(items, MARK))


LEAVES = st.one_of(
    st.none().map(lambda _: Leaf(MARK, None, "")),
    st.text(alphabet="xyz", max_size=2).map(lambda text: text_leaf(MARK, text)),
)
NODES: st.SearchStrategy[Node] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(KEYS, inner, max_size=3).map(table),
        st.lists(inner, max_size=2).map(lambda found: Items(MARK, tuple(found))),
    ),
    max_leaves=12,
)
TABLES = st.dictionaries(KEYS, NODES, max_size=4).map(table)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
TRICKY = st.text(alphabet="ab'\"\\$`{}.() ;#\n&|<>*", max_size=12)


@given(TABLES)
@proves("TMPL-003")
def test_merging_with_nothing_or_oneself_changes_nothing(one: Table) -> None:
    assert plain(merge(table({}), one)) == plain(one)
    assert plain(merge(one, table({}))) == plain(one)
    assert plain(merge(one, one)) == plain(one)


@given(TABLES, TABLES)
@proves("TMPL-003")
def test_the_younger_file_has_the_last_word_on_each_key_it_names(base: Table, over: Table) -> None:
    merged = merge(base, over)

    assert isinstance(merged, Table)
    assert set(merged.items) == set(base.items) | set(over.items)
    for key, node in over.items.items():
        if not isinstance(node, Table):
            assert merged.items[key] == node
    for key in set(base.items) - set(over.items):
        assert merged.items[key] == base.items[key]


@given(TABLES, TABLES, TABLES)
def test_a_key_deleted_by_the_youngest_is_gone_whatever_came_before(a: Table, b: Table, c: Table) -> None:
    youngest = table({**c.items, "a": Leaf(MARK, None, "")})

    settled = settle(merge(merge(a, b), youngest))

    assert isinstance(settled, Table)
    assert "a" not in settled.items


@given(TEXTS | TRICKY)
@proves("TMPL-010")
def test_a_literal_survives_both_phases(text: str) -> None:
    assert render(escape(text), {}, shell=False) == text


@given(TEXTS | TRICKY, st.sampled_from(["params.x", "ports.http"]))
def test_a_value_with_all_its_references_never_leaves_one(text: str, name: str) -> None:
    line = f"${{{name}}}{escape(text)}${{{name}}}"

    assert set(references(line, shell=False)) == {name}
    assert render(line, {name: "${other.x}"}, shell=False) == "${other.x}" + text + "${other.x}"


@given(TEXTS | TRICKY)
def test_the_parts_of_a_text_written_out_again_mean_the_same(text: str) -> None:
    with contextlib.suppress(BadPlaceholder):
        parts = parse(text)

        assert joined(parse("".join(written(part) for part in parts))) == joined(parts)


def written(part: Part) -> str:
    match part:
        case Literal(text):
            return escape(text)
        case Reference(name):
            return f"${{{name}}}"
        case Variable(name, operator, word):
            return f"${{{name}{operator}{word}}}"


def joined(parts: list[Part]) -> list[Part | str]:
    """Neighbouring literals as one."""
    runs = itertools.groupby(parts, key=lambda part: isinstance(part, Literal))
    return [
        one
        for is_text, run in runs
        for one in (
            ["".join(part.text for part in run if isinstance(part, Literal))] if is_text else list(run)
        )
    ]


@pytest.mark.timeout(120)
@settings(max_examples=60, deadline=None)
@given(TRICKY)
@proves("TMPL-010")
def test_the_shell_sees_a_value_as_one_word_of_data(value: str) -> None:
    line = "printf '%s\\0' ${params.x} \"<${params.x}>\" '<'${params.x}'>' '<${params.x}>'"

    early = fill_shell(line, {"params.x": value}.get)
    late = render(early, {}, shell=True)
    output = subprocess.run(["/bin/sh", "-c", late], capture_output=True, check=True, timeout=10).stdout

    assert output.decode().split("\0")[:-1] == [value, f"<{value}>", f"<{value}>", f"<{value}>"]


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_as_a_bad_file(text: str) -> None:
    for read in (read_yaml, read_toml):
        with contextlib.suppress(BadFile):
            assert isinstance(read(text, "f"), Leaf | Items | Table)


@given(st.integers(0, 10**6), st.sampled_from([("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600)]))
def test_durations_are_their_number_times_their_unit(number: int, unit: tuple[str, float]) -> None:
    assert seconds(f"{number}{unit[0]}") == pytest.approx(number * unit[1])


@given(st.integers(0, 10**6), st.sampled_from([("B", 1), ("kB", 1000), ("MiB", 2**20), ("GB", 10**9)]))
def test_sizes_are_their_number_times_their_unit(number: int, unit: tuple[str, int]) -> None:
    assert size_bytes(f"{number}{unit[0]}") == number * unit[1]


EDGES = st.dictionaries(st.integers(0, 8), st.lists(st.integers(0, 8), max_size=3), max_size=9).map(
    lambda found: {str(key): [str(name) for name in names] for key, names in found.items()}
)


@given(EDGES)
def test_either_there_is_an_order_or_a_cycle_that_is_really_there(edges: dict[str, list[str]]) -> None:
    cycle = graph.find_cycle(edges)
    if cycle:
        assert cycle[0] == cycle[-1]
        assert all(after in edges[before] for before, after in itertools.pairwise(cycle))
        return
    order = graph.start_order(edges)
    assert sorted(order) == sorted(edges)
    for name, needs in edges.items():
        assert all(order.index(need) < order.index(name) for need in needs if need in edges)


@proves("TMPL-018")
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30))
def test_whatever_value_stands_in_a_line_for_a_container_it_is_one_word(value: str) -> None:
    line = fill_shell("run ${params.p} 'q ${params.p}' \"d ${params.p}\" --a=${params.p}", lambda _: value)

    split = [render(word, {}, shell=False) for word in words(line)]

    assert split == ["run", value, f"q {value}", f"d {value}", f"--a={value}"]


_LINE = st.lists(
    st.sampled_from(["a", "b c", "'", '"', "\\", " ", "\t", "$", "`", "x=1", "''", '""', "é", "#"]),
    max_size=12,
).map("".join)


@proves("TMPL-018")
@settings(max_examples=50, deadline=None)
@given(_LINE.filter(lambda line: not set(line) & set("$`#")).map(lambda line: f"{line} "))
def test_a_line_is_split_as_the_shell_splits_it(line: str) -> None:
    script = f"set -f; set -- {line}\nfor word do printf '%s\\0' \"$word\"; done"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)

    if done.returncode == 0:
        assert "".join(f"{word}\0" for word in words(line)) == done.stdout
    else:
        with pytest.raises(ValueError, match="a quote is not closed"):
            words(line)
