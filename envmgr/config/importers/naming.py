"""Names of other formats as names of ours: unique, and as near to the original as may be."""

from __future__ import annotations

import hashlib
import re

_LONGEST = 40


def slug(text: str, fallback: str) -> str:
    """Small letters, digits, `-` and `_`; at most 40, with a short hash where that cuts something off."""
    found = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_") or fallback
    if len(found) <= _LONGEST:
        return found
    return f"{found[: _LONGEST - 7].rstrip('-_')}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


class Names:
    """Gives each original name a slug of its own.

    Two slugs also collide when only `-` and `_` differ: variables such as `MY_APP_HTTP_PORT` are made from them.
    A name that is a slug already keeps it, whoever comes first.
    """

    def __init__(self, originals: list[str], fallback: str = "service") -> None:
        self._given: dict[str, str] = {}
        self._taken: set[str] = set()
        for is_exact in (True, False):
            for original in originals:
                if original not in self._given and (slug(original, fallback) == original) is is_exact:
                    self._given[original] = self._free(slug(original, fallback))

    def __getitem__(self, original: str) -> str:
        return self._given[original]

    def get(self, original: str) -> str | None:
        """The slug, or None for a name that was not there."""
        return self._given.get(original)

    def fresh(self, wanted: str) -> str:
        """A name for something that has none in the imported file."""
        return self._free(slug(wanted, wanted))

    def _free(self, wanted: str) -> str:
        name, count = wanted, 1
        while _key(name) in self._taken:
            count += 1
            name = f"{wanted[: _LONGEST - len(str(count)) - 1]}-{count}"
        self._taken.add(_key(name))
        return name


def _key(name: str) -> str:
    return name.replace("_", "-")
