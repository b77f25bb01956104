"""Say words to tmux so that it takes them literally: on a control line, on a command line, in a format, in a paste."""

from __future__ import annotations

import re
from collections.abc import Sequence

from envmgr.errors import UsageError

Command = Sequence[str]
"""A tmux command: its name and its arguments, each taken literally."""

_QUOTED = str.maketrans({"\\": "\\\\", '"': '\\"', "$": "\\$", "~": "\\~", "\n": "\\n", "\r": "\\r"})
# C0 without tab and line feed, DEL, C1.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def control_line(command: Command) -> bytes:
    """One line for a control-mode connection."""
    line = " ".join(f'"{word.translate(_QUOTED)}"' for word in command)
    return _refuse_nul(line).encode("utf-8", "surrogateescape") + b"\n"


def arguments(commands: Sequence[Command]) -> list[str]:
    """A command list as arguments of one tmux process."""
    words: list[str] = []
    for command in commands:
        # tmux takes a word that ends in a semicolon for the end of a command.
        words += [_refuse_nul(word[:-1] + "\\;" if word.endswith(";") else word) for word in command]
        words.append(";")
    return words[:-1]


def text_in_format(text: str) -> str:
    """Text for an argument that tmux expands as a format, such as a directory; nothing in it is expanded.

    `#` is doubled, except before `[`, where tmux (3.2 to 3.5, format.c) copies a run of `#` as it is.
    """
    return re.sub(r"#+(?![#\[])", lambda run: run[0] * 2, text)


def clean(text: str) -> str:
    """Text that is safe to paste: line ends become LF, no control character but tab and LF is left.

    tmux passes `ESC[201~` through unchanged, so a text with escapes could leave the bracketed paste and type commands.
    """
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _refuse_nul(text: str) -> str:
    if "\0" in text:
        raise UsageError("an argument holds a NUL character", hint="Remove it; no program can be given one.")
    return text
