"""What is offered: tools from the generated file, resources and prompts by hand. Imports neither SDK nor models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from envmgr.errors import UsageError

# Any throughout: JSON documents.


class Choice(StrEnum):
    """How many tools an assistant is shown: each costs it context."""

    COMPACT = "compact"
    """What agents coordinate with."""
    ALL = "all"
    """Every operation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool, and how to ask the daemon for it.

    Attributes:
        input: Schema of the arguments.
        output: Schema of the result.
        touch: `read`, `write` or `destroy`.
        in_path: Names under which a field of the path may be given.
        supplied: Fields that are filled in when they are not given, and with what: `cwd` or `environment`.
    """

    name: str
    operation: str
    description: str
    input: Mapping[str, Any]
    output: Mapping[str, Any]
    touch: str
    compact: bool
    stream: bool
    method: str
    path: str
    in_path: Mapping[str, list[str]]
    supplied: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """The result of a tool under an address.

    Attributes:
        tool: Whose result it is; the resource is offered when the tool exists.
    """

    uri: str
    description: str
    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For people."""
        return self.uri.replace("://", " ")


RESOURCES = (
    Resource(uri="locks://current", description="Locks that are held now, and by whom", tool="check_locks"),
    Resource(
        uri="work://pending",
        description="Tasks that wait or are under way",
        tool="list_tasks",
        arguments={"open": True, "limit": 50},
    ),
    Resource(
        uri="handoffs://recent",
        description="What agents wrote down for those who go on",
        tool="read_handoff",
        arguments={"limit": 10},
    ),
    Resource(
        uri="memories://recent",
        description="What agents learned lately",
        tool="list_memories",
        arguments={"limit": 20},
    ),
    Resource(
        uri="audit://recent", description="Who did what lately", tool="query_audit", arguments={"limit": 50}
    ),
    Resource(uri="agents://active", description="Agents at work, and at what", tool="discover_agents"),
    Resource(
        uri="profiles://current", description="Who you are, and what your key is good for", tool="whoami"
    ),
)
_NO_GUARDRAILS = "envmgr has neither guardrails nor policies: nobody has looked at what you are about to do."
_OF_OTHERS = {
    "check_guardrails": _NO_GUARDRAILS,
    "check_policy": _NO_GUARDRAILS,
    "validate_cedar_policy": _NO_GUARDRAILS,
    "get_my_profile": "The resource profiles://current tells what your key is good for.",
}
"""Tools of the Agent Coordinator that envmgr does not have, with what its clients should know."""


@cache
def everything() -> Mapping[str, Tool]:
    """All tools, by name."""
    text = Path(__file__).with_name("tools.json").read_text(encoding="utf-8")
    return {entry["name"]: Tool(**entry) for entry in json.loads(text)}


def outline(output: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema of results that tells the parts of parts by their names: half of the size, and as true."""
    definitions = output.get("$defs", {})

    def part(node: Any) -> Any:
        if isinstance(node, list):
            return [part(value) for value in node]
        if not isinstance(node, dict):
            return node
        if "$ref" not in node:
            is_plain = node.get("items") == {"type": "string"}
            return {key: part(value) for key, value in node.items() if not (is_plain and key == "items")}
        found = definitions[node["$ref"].removeprefix("#/$defs/")]
        names = found.get("properties")
        return {"type": "object", "description": ", ".join(names)} if names else part(found)

    return {key: part(value) for key, value in output.items() if key != "$defs"}


@cache
def chosen(choice: Choice) -> Mapping[str, Tool]:
    """The tools that are shown."""
    return {name: tool for name, tool in everything().items() if tool.compact or choice is Choice.ALL}


def find(name: str, choice: Choice) -> Tool:
    """A tool that is shown.

    Raises:
        UsageError: There is none of that name; the hint tells the nearest.
    """
    tools = chosen(choice)
    if name in tools:
        return tools[name]
    if name in everything():
        hint = "It is there when envmgr's MCP server is started with `--tools all`."
    else:
        near = get_close_matches(name, tools)
        hint = f"Did you mean {', '.join(near)}?" if near else "List the tools."
        hint = _OF_OTHERS.get(name, hint)
    raise UsageError(f"no tool is called {name[:100]!r}", hint=hint)


def choice_of(word: str) -> Choice:
    """Raises UsageError unless it is one."""
    try:
        return Choice(word)
    except ValueError as error:
        raise UsageError(
            f"no set of tools is called {word!r}", hint="There are `compact` and `all`."
        ) from error
