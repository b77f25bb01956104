"""Overlap of lock targets against an oracle that knows nothing of automata: it lists all paths there are and tries each."""

from __future__ import annotations

import itertools
from functools import cache

from hypothesis import example, given, settings
from hypothesis import strategies as st

from envmgr.core.overlap import covers, has_path, overlap
from envmgr.core.targets import DEEP, Target, parse_target
from tests.support.requirements import proves

# Two letters of the patterns, a dot, and one letter that no pattern knows.
_NAMES = [
    name
    for length in (1, 2, 3)
    for name in map("".join, itertools.product("ab.z", repeat=length))
    if name not in (".", "..")
]
_FEW = ["a", "b", "ab", "ba", "z", ".a"]
_PATHS = [path for depth in (1, 2, 3, 4) for path in itertools.product(_FEW, repeat=depth)]
# Where names of two small patterns meet, one of these is in both. A bare path of three names goes on with the two that
# follow a leading `**`, so the shortest path in both has at most five.
_MEETING = [
    path for depth in (1, 2, 3, 4, 5) for path in itertools.product(["a", "b", "ab", "z"], repeat=depth)
]


@cache
def _is_named(pattern: str, name: str) -> bool:
    """The grammar's words, character by character."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(_is_named(pattern[1:], name[at:]) for at in range(len(name) + 1))
    return bool(name) and pattern[0] in ("?", name[0]) and _is_named(pattern[1:], name[1:])


def _is_matched(names: tuple[str, ...], path: tuple[str, ...], *, below: bool) -> bool:
    """The grammar's words, name by name; `below` is how a bare path and a slash at the end are meant."""
    if not names:
        return below or not path
    first, rest = names[0], names[1:]
    if first == "**":
        least = 0 if rest else 1
        return any(_is_matched(rest, path[at:], below=below) for at in range(least, len(path) + 1))
    return bool(path) and _is_named(first, path[0]) and _is_matched(rest, path[1:], below=below)


def _matches(written: str, path: tuple[str, ...]) -> bool:
    names = tuple(name for name in written.split("/") if name not in ("", "."))
    below = written.endswith("/") or not any(sign in written for sign in "*?")
    return _is_matched(names, path, below=below)


_name = st.text("ab.*?", min_size=1, max_size=4).filter(
    lambda name: name not in (".", "..") and "**" not in name
)
_part = st.one_of(st.sampled_from(["a", "b", "ab", "*", "?", "a*", "*b", DEEP]), _name)
_written = st.builds(
    lambda parts, end: "/".join(parts) + end,
    st.lists(_part, min_size=1, max_size=4),
    st.sampled_from(["", "", "", "/"]),
)
_small = st.builds(
    lambda parts, end: "/".join(parts) + end,
    st.lists(st.sampled_from(["a", "b", "ab", "*", "?", "a*", "*a", "?b", DEEP]), min_size=1, max_size=3),
    st.sampled_from(["", "", "", "/"]),
)


@proves("LOCK-TARGET-002")
@settings(max_examples=1500, deadline=None)
@given(_name, _name)
def test_two_patterns_of_a_name_overlap_if_some_name_is_both(a: str, b: str) -> None:
    # Wild on both sides: a word as long as both have letters, and one more, is as good as any longer one.
    both = [name for name in _NAMES if _is_named(a, name) and _is_named(b, name)]

    witness = overlap(_exactly(a), _exactly(b))

    if both:
        assert witness is not None
    if witness is not None:
        assert witness not in (".", "..")
        assert _is_named(a, witness)
        assert _is_named(b, witness)
    elif len(a.replace("*", "")) + len(b.replace("*", "")) <= 3:
        assert not both


def _exactly(pattern: str) -> Target:
    """Without what is below."""
    return Target("", (pattern,), pattern)


@proves("LOCK-TARGET-002")
@settings(max_examples=500, deadline=None)
@example("a/a/a", "**/b/a")
@given(_small, _small)
def test_two_targets_overlap_exactly_when_some_path_is_in_both(a: str, b: str) -> None:
    both = any(_matches(a, path) and _matches(b, path) for path in _MEETING)

    witness = overlap(parse_target(a), parse_target(b))

    assert (witness is not None) == both


@proves("LOCK-TARGET-002")
@settings(max_examples=1500, deadline=None)
@given(_written, _written)
def test_a_witness_is_in_both_and_it_does_not_matter_who_is_asked(a: str, b: str) -> None:
    one, other = parse_target(a), parse_target(b)

    witness = overlap(one, other)

    assert (overlap(other, one) is None) == (witness is None)
    if witness is not None:
        path = tuple(witness.removeprefix("./").split("/"))
        assert _matches(a, path), witness
        assert _matches(b, path), witness
        assert has_path(one, "/".join(path))
    elif one.bucket == other.bucket or not one.bucket or not other.bucket:
        assert not any(_matches(a, path) and _matches(b, path) for path in _PATHS[:300])


@proves("LOCK-TARGET-002")
@settings(max_examples=500, deadline=None)
@given(_written)
def test_a_target_overlaps_itself_and_is_read_back_as_itself(written: str) -> None:
    target = parse_target(written)

    assert parse_target(target.text) == target
    assert covers(target, target)
    is_possible = any(_matches(written, path) for path in _PATHS)
    assert overlap(target, target) is not None or not is_possible


@proves("LOCK-TARGET-003")
@settings(max_examples=500, deadline=None)
@given(_small, _small)
def test_one_covers_another_exactly_when_it_has_all_its_paths(a: str, b: str) -> None:
    is_inside = all(_matches(a, path) for path in _PATHS if _matches(b, path))

    assert covers(parse_target(a), parse_target(b)) <= is_inside
    if not is_inside:
        assert not covers(parse_target(a), parse_target(b))


@proves("LOCK-TARGET-003")
@settings(max_examples=500, deadline=None)
@given(_written, st.sampled_from(_PATHS))
def test_a_path_is_matched_as_the_grammar_says(written: str, path: tuple[str, ...]) -> None:
    assert has_path(parse_target(written), "/".join(path)) == _matches(written, path)


@proves("LOCK-TARGET-002")
@settings(max_examples=500, deadline=None)
@given(_written, _written)
def test_different_buckets_never_overlap(a: str, b: str) -> None:
    one, other = parse_target(a), parse_target(b)
    if one.bucket and other.bucket and one.bucket != other.bucket:
        assert not any(_matches(a, path) and _matches(b, path) for path in _PATHS)
