"""A file of settings or a template, read with bounds."""

from __future__ import annotations

import functools
from pathlib import Path

from envmgr.config.nodes import MAX_BYTES, Node
from envmgr.config.problems import BadFile, Mark, Problem
from envmgr.config.toml_source import read_toml


def read_text(path: Path, shown: str) -> str:
    """Content of a text file.

    Raises:
        ConfigError: Not readable, larger than 1 MiB, or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadFile(
            [Problem(mark=Mark(shown), message=f"cannot be read: {error.strerror or error}")]
        ) from error
    if len(content) > MAX_BYTES:
        raise BadFile(
            [Problem(mark=Mark(shown), message="larger than 1 MiB", hint="Is this the right file?")]
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise BadFile(
            [Problem(mark=Mark(shown, line, column), message="not UTF-8 text", hint="Save it as UTF-8.")]
        ) from error


def read(path: Path, shown: str) -> Node:
    """Parse by suffix: `.toml`, else YAML. The same text again costs no parsing; nodes are frozen."""
    return _parse(read_text(path, shown), shown, is_toml=path.suffix == ".toml")


@functools.lru_cache(maxsize=32)
def _parse(text: str, shown: str, *, is_toml: bool) -> Node:
    if is_toml:
        return read_toml(text, shown)
    # Deferred: the YAML parser costs 20 ms to import, and settings are TOML.
    from envmgr.config.yaml_source import read_yaml

    return read_yaml(text, shown)
