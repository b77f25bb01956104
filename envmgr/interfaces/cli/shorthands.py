"""Groups of commands that are a command themselves."""

from __future__ import annotations

from collections.abc import Mapping

import click


class Shorthand(click.Group):
    """Without one of its words it is one of its commands, and options may stand for the others.

    Args:
        default: The word that is meant when there is none.
        options: Such as `--verify`, and the words they stand for.
    """

    def __init__(self, name: str, *, text: str, default: str, options: Mapping[str, str]) -> None:
        super().__init__(name, help=text)
        self._default = default
        self._options = options

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(context, self._spelled_out(args))

    def _spelled_out(self, args: list[str]) -> list[str]:
        if args and (args[0] in self.commands or args[0] in ("-h", "--help")):
            return args
        for at, word in enumerate(args):
            option, equals, value = word.partition("=")
            if option in self._options:
                return [self._options[option], *([value] if equals else []), *args[:at], *args[at + 1 :]]
        return [self._default, *args]


def audit() -> Shorthand:
    """`envmgr audit --last 1h`, `--verify`, `--prove SEQ`, `--export`."""
    return Shorthand(
        "audit",
        text="Who asked for what, and what came of it.\n\n"
        "Without a command it is `query`; `--verify`, `--prove SEQ` and `--export` stand for the commands of these names.",
        default="query",
        options={f"--{word}": word for word in ("verify", "prove", "export", "check")},
    )
