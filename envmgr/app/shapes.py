"""Bases of what operations take and give, and how the command line takes a field."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

_WHO = ("agent_id", "agent_type", "session_id")
"""What clients of other coordinators say about themselves. Here the key says it."""


class Ask(BaseModel):
    """Base of what operations take: unknown keys are refused, with the known ones named."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _left_out(cls, given: Any) -> Any:  # Any: not looked at yet
        """`null` is nothing given, as many clients write what they leave out."""
        if isinstance(given, dict) and None in given.values():
            return {name: value for name, value in given.items() if value is not None}
        return given


class View(BaseModel):
    """Base of what operations give. Answers hold every field, so schemas call them all required."""

    model_config = ConfigDict(frozen=True, defer_build=True, json_schema_serialization_defaults_required=True)


def argument(description: str, **more: Any) -> Any:
    """A field that the CLI takes as a positional argument."""
    return Field(description=description, json_schema_extra={"cli": {"argument": True}}, **more)


def option(description: str, *, short: str = "", default: Any = None, **more: Any) -> Any:
    """A field that the CLI takes as an option, with a short form if given."""
    return Field(
        description=description, default=default, json_schema_extra={"cli": {"short": short}}, **more
    )


def supplied(description: str, by: str, default: Any = None) -> Any:
    """A field that the CLI fills in by itself: `cwd`, `environment`, `terminal`."""
    return Field(description=description, default=default, json_schema_extra={"cli": {"supplied": by}})


def nameless(takes: type[Ask], given: dict[str, Any]) -> dict[str, Any]:
    """Without what only says who asks, where that is no field."""
    if given.keys().isdisjoint(_WHO):
        return given
    return {name: value for name, value in given.items() if name not in _WHO or name in _all_names(takes)}


def names(takes: type[Ask], own: str) -> set[str]:
    """What one of its fields may be called."""
    also = takes.model_fields[own].validation_alias
    return {own, *(str(one) for one in (also.choices if isinstance(also, AliasChoices) else ()))}


@cache
def _all_names(takes: type[Ask]) -> frozenset[str]:
    return frozenset(name for own in takes.model_fields for name in names(takes, own))
