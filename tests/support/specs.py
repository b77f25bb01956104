"""Values of the model for tests: one plain agent, and hypothesis strategies for all that can be expressed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from envmgr.model.agent import AgentState
from envmgr.model.ids import AgentId
from envmgr.model.probe import AllOf, AnyOf, ExecProbe, HttpProbe, LogProbe, Probe, TcpProbe
from envmgr.model.spec import AgentSpec
from envmgr.protocols.store import AgentRecord

# Lone surrogates are what Python makes of file names that are not UTF-8.
TEXT = st.text(max_size=6)
NUMBERS = st.floats(allow_nan=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


def record(name: str = "otter", *, id_: str = "") -> AgentRecord:
    """An agent that was just defined; its id is made of its name."""
    agent = AgentId(id_ or f"{name:a<8}"[:8])
    return AgentRecord(
        state=AgentState(id=agent, name=name),
        spec=AgentSpec(template="plain", source="built in", repo="/repo", name=name),
    )


@cache
def any_of_type(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a type of the model, every field drawn, small enough to draw many."""
    if hint in _LEAVES:
        return _LEAVES[hint]
    if hasattr(hint, "__supertype__"):
        return any_of_type(hint.__supertype__)
    if hasattr(hint, "__dataclass_fields__"):
        hints = get_type_hints(hint)
        return st.builds(hint, **{f.name: st.deferred(_of(hints[f.name])) for f in fields(hint)})
    return _composed(hint)


def _of(hint: Any) -> Any:
    return lambda: any_of_type(hint)


def _composed(hint: Any) -> st.SearchStrategy[Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple:
        return st.lists(any_of_type(arguments[0]), max_size=2).map(tuple)
    if origin is frozenset:
        return st.frozensets(any_of_type(arguments[0]), max_size=3)
    if origin is Mapping:
        return st.dictionaries(TEXT, any_of_type(arguments[1]), max_size=2)
    if arguments:
        return st.one_of([any_of_type(member) for member in arguments])
    return st.sampled_from(hint)


_LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: st.integers(),
    float: NUMBERS,
    bool: st.booleans(),
    object: JSON,
    type(None): st.none(),
}
_LEAVES[Probe] = st.recursive(
    st.one_of([any_of_type(kind) for kind in (HttpProbe, TcpProbe, ExecProbe, LogProbe)]),
    lambda inner: (
        st.lists(inner, max_size=2)
        .map(tuple)
        .flatmap(lambda probes: st.sampled_from([AnyOf(probes=probes), AllOf(probes=probes)]))
    ),
    max_leaves=4,
)
