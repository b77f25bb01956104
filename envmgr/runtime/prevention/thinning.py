"""Keep of a value that hardly moves a sample a minute, and of one that moves every one: 50 idle agents cost little history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from envmgr.protocols.series import Sample

_MOVED = 0.02


class Thinning:
    """Remembers what was kept last.

    Args:
        rest_s: A value that stays is kept this often.
    """

    def __init__(self, *, rest_s: float) -> None:
        self._rest_s = rest_s
        self._kept: dict[tuple[str, str, str], tuple[float, float]] = {}

    def worth(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """Those that tell something new."""
        for sample in samples:
            key = (sample.agent, sample.subject, sample.metric)
            at, value = self._kept.get(key, (float("-inf"), 0.0))
            # An earlier moment than the last one: the clock was set back.
            is_due = not 0 <= sample.at - at < self._rest_s
            if is_due or abs(sample.value - value) > _MOVED * max(abs(value), abs(sample.value)):
                self._kept[key] = (sample.at, sample.value)
                yield sample

    def forget_others(self, agents: Iterable[str]) -> None:
        """Only these are there."""
        known = set(agents)
        self._kept = {key: kept for key, kept in self._kept.items() if key[0] in known}
