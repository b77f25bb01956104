"""Take secrets out of text that is kept or shown: known values, and what looks like one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

MASK = "********"
_SHORTEST = 4
_PIECE_BYTES = 1 << 14
_WORDS = r"(?:PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|CREDENTIALS?)"
# None begins with a part of any length: no line must take a time that grows with its square.
_SHAPES = (
    (
        re.compile(
            rf"(?P<keep>{_WORDS}[\"']?\s*[=:]\s*[\"']?)(?P<secret>(?!\{{|\[|\$\{{)[^\s\"',;&]+)",
            re.IGNORECASE,
        )
    ),
    (re.compile(rf"(?P<keep>(?<!\S)--[A-Z0-9_.-]*{_WORDS}[= ])(?P<secret>\S+)", re.IGNORECASE)),
    (re.compile(r"(?P<keep>://[^\s:/@]*:)(?P<secret>[^\s/@]+)(?=@)", re.IGNORECASE)),
    (re.compile(r"(?P<keep>\b(?:Bearer|Basic)\s+)(?P<secret>[A-Za-z0-9._~+/=-]{8,})", re.IGNORECASE)),
    (
        re.compile(
            r"(?P<keep>)(?P<secret>\b(?:sk-[A-Za-z0-9_-]{8,}|emk_[A-Za-z0-9_-]{16,}|gh[opsur]_\w{16,}|github_pat_\w{16,}|AKIA[0-9A-Z]{16}|xox[abps]-[\w-]{8,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+))"
        )
    ),
)
_PLAIN_WORD = re.compile(r"[A-Za-z][a-z'’-]*[.!?)]*")
_TELLS = (
    "passw", "secret", "token", "apikey", "api_key", "accesskey", "access_key", "privatekey", "private_key", "credential",
    "bearer", "basic", "sk-", "gho_", "ghp_", "ghs_", "ghu_", "ghr_", "github_pat_", "akia", "xox", "eyj",
    "emk_",
)  # fmt: skip
"""What a text has somewhere, in small letters, when it has any of the shapes; much faster than the shapes themselves."""


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name is likely to hold a secret."""
    return re.fullmatch(rf"[A-Z0-9_.-]*{_WORDS}", name, re.IGNORECASE) is not None


def masked(text: str, values: Iterable[str] = (), *, is_prose: bool = False) -> str:
    """The text without these values, and without what has the shape of a secret.

    The shapes are for secrets that nobody here knows: those of the program itself, or, after a restart of the daemon, those
    that came from the environment of a person. Values of a few characters stand in any text by chance, and stay.

    Args:
        is_prose: Somebody wrote it to be understood: `expired token: users see a blank page` stays as it is.
    """
    for value in sorted({value for value in values if len(value) >= _SHORTEST}, key=len, reverse=True):
        text = text.replace(value, MASK)
    return _shapeless(text, is_prose=is_prose)


def _shapeless(text: str, *, is_prose: bool = False) -> str:
    if not may_hold_secrets(text):
        return text
    for shape in _SHAPES:
        text = shape.sub(_unless_word if is_prose else rf"\g<keep>{MASK}", text)
    return text


def _unless_word(found: re.Match[str]) -> str:
    """A colon, a space and a plain word is how people write, and no assignment; and there is Basic authentication."""
    keep = found["keep"]
    is_word = keep.lower().endswith((": ", "bearer ", "basic ")) and _PLAIN_WORD.fullmatch(found["secret"])
    return found[0] if is_word else keep + MASK


def may_hold_secrets(text: str) -> bool:
    """Whether `masked` without values might change the text; cheap, and sometimes wrongly so."""
    small = text.lower()
    return any(tell in small for tell in _TELLS) or ("://" in small and "@" in small)


def stripped(value: object, values: Iterable[str] = (), *, is_secret: bool = False) -> object:
    """The same data without secrets: by value, by the name it goes under, by its shape.

    Args:
        is_secret: Its name says that it is one.
    """
    match value:
        case str():
            return MASK if is_secret and value else masked(value, values)
        case Mapping():
            return {
                masked(str(name), values): stripped(one, values, is_secret=is_secret_name(str(name)))
                for name, one in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [stripped(one, values, is_secret=is_secret) for one in value]
    return value


def masked_stream(chunks: Iterable[bytes], values: Iterable[str] = ()) -> Iterator[bytes]:
    """`masked` for a long log. A secret that two chunks cut is one secret; shapes are looked for within lines."""
    return _without_shapes(_without_values(chunks, values))


def _without_values(chunks: Iterable[bytes], values: Iterable[str]) -> Iterator[bytes]:
    encoded = {value.encode("utf-8", "surrogateescape") for value in values if len(value) >= _SHORTEST}
    known = sorted(encoded, key=len, reverse=True)
    if not known:
        yield from chunks
        return
    pattern, held = re.compile(b"|".join(map(re.escape, known))), b""
    for chunk in chunks:
        held += chunk
        # Whatever begins before this is there as a whole, so that of two that begin alike the longer is found.
        ready, held = _replaced(pattern, held, until=len(held) - len(known[0]) + 1)
        yield ready
    yield _replaced(pattern, held, until=len(held))[0]


def _replaced(pattern: re.Pattern[bytes], data: bytes, *, until: int) -> tuple[bytes, bytes]:
    """What is before `until`, or before the end of a secret that begins there; and the rest as it is."""
    parts, done = [], 0
    for found in pattern.finditer(data):
        if found.start() >= until:
            break
        parts += [data[done : found.start()], MASK.encode()]
        done = found.end()
    end = max(done, until, 0)
    return b"".join((*parts, data[done:end])), data[end:]


def _without_shapes(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Piece by piece, cut at the ends of lines; of a line that is longer, between words."""
    held = b""
    for chunk in chunks:
        held += chunk
        while len(held) > _PIECE_BYTES:
            head = held[:_PIECE_BYTES]
            end = head.rfind(b"\n") + 1 or head.rfind(b" ") + 1 or _PIECE_BYTES
            yield _piece(held[:end])
            held = held[end:]
    yield _piece(held)


def _piece(data: bytes) -> bytes:
    text = data.decode("utf-8", "surrogateescape")
    if not may_hold_secrets(text):
        return data
    lines = (_shapeless(line) for line in text.splitlines(keepends=True))
    return "".join(lines).encode("utf-8", "surrogateescape")
