"""What a plain scalar of YAML 1.2 means; apart from the parser, which is slow to import."""

from __future__ import annotations

import re

from envmgr.config.nodes import Atom

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
# YAML 1.2.2, 10.3.2: no `yes`, no `on`, no sexagesimals.
_WORDS: dict[str, Atom] = {"": None, "~": None}
_WORDS |= dict.fromkeys(("null", "Null", "NULL"))
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)


def atom(text: str) -> Atom:
    """What a plain (unquoted) scalar means."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text, base) if len(text) < 400 else text
    return float(text) if _FLOAT.fullmatch(text) else text
