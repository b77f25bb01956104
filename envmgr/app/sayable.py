"""What no operation can do anything with is refused before it is done: better here than in the middle of something."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from envmgr.errors import Invalid

_ENVIRONMENT = "environment"
_LARGEST = 2**63 - 1  # of the store, https://www.sqlite.org/datatype3.html


def refuse_unsayable(given: Mapping[str, object]) -> None:
    """Texts with NUL or half a character, and numbers without end. No file name, command or store holds them.

    Environments may hold bytes that are no UTF-8, which Python calls by halves of characters.

    Raises:
        Invalid: There is one.
    """
    if _ENVIRONMENT in given:
        _refuse(given[_ENVIRONMENT], may_have_halves=True)
        given = {key: value for key, value in given.items() if key != _ENVIRONMENT}
    _refuse(dict(given))


def refuse_huge(ask: BaseModel) -> None:
    """Numbers that were texts in a query. Raises Invalid."""
    for value in vars(ask).values():
        if isinstance(value, (int, list)):
            _refuse(value)


def _refuse(node: object, *, may_have_halves: bool = False) -> None:
    left = [node]
    while left:
        match left.pop():
            case str() as text:
                if "\0" in text or not (may_have_halves or text.isascii() or _is_whole(text)):
                    raise Invalid(
                        "a text holds what none can: NUL, or half a character", hint="Leave it out."
                    )
            case int() as number:
                if not -_LARGEST <= number <= _LARGEST:
                    raise Invalid("a number is too large", hint="Numbers have at most 63 bits.")
            case dict() as table:
                left += table.keys()
                left += table.values()
            case list() as items:
                left += items


def _is_whole(text: str) -> bool:
    """Not so when it has half of a surrogate pair, which JSON can say and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
