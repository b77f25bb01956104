"""Bases of what operations take and give, and how the command line takes a field."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator


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
