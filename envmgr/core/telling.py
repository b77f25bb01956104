"""What an agent is told of the others: what concerns it first, in few words, and nothing twice.

Names, paths and reasons come from others. They are one line each, without control characters and short.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from envmgr.core.leasing import meets
from envmgr.core.overlap import has_path
from envmgr.core.targets import parse_target
from envmgr.model.lock import Grant, Mode
from envmgr.model.observed import ObservedChange, Told

MOST_CHARS = 2000
"""Of what is put into an assistant's context at once."""

_MOST_LINES = 8
_NAMED = 5
_WORDS = 100
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_HEAD = "From envmgr, about other agents in this repository:"


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What there is in a repository that an agent has not been told.

    Attributes:
        agent: Its id.
        own: What it holds.
        paths: Files that it has changed lately.
        changes: Of all agents, the newest first.
        grants: Of all holders.
    """

    agent: str
    own: Sequence[Grant]
    paths: frozenset[str]
    changes: Sequence[ObservedChange]
    grants: Sequence[Grant]


def upto(news: News, before: Told) -> Told:
    """How far the agent has been told once it has heard this."""
    return Told(
        change=max([before.change, *(change.seq for change in news.changes)]),
        token=max([before.token, *(grant.token for grant in news.grants)]),
    )


def urgent(news: News) -> list[str]:
    """What concerns the agent's own files and locks, one line each."""
    lines = [line for change in news.changes if (line := _of_change(news, change))]
    lines += [line for grant in news.grants if (line := _of_grant(news, grant))]
    return list(dict.fromkeys(lines))


def rest(news: News) -> list[str]:
    """What others hold and have changed, in one line each, save what `urgent` tells."""
    lines = []
    violated = _violated(news)
    held = [
        grant
        for grant in news.grants
        if grant.holder != news.agent and grant.token not in violated and not _of_grant(news, grant)
    ]
    if held:
        named = [f"{_plain(grant.target)} by {_plain(grant.name)}{_why(grant)}" for grant in held[:_NAMED]]
        lines.append(f"Locked: {'; '.join(named)}{_more(len(held) - _NAMED)}.")
    changed: dict[str, list[str]] = defaultdict(list)
    for change in news.changes:
        if change.agent not in ("", news.agent) and not _of_change(news, change):
            changed[change.name].append(change.path)
    for name, paths in changed.items():
        named = list(map(_plain, paths[:_NAMED]))
        lines.append(f"Changed by {_plain(name)}: {', '.join(named)}{_more(len(paths) - _NAMED)}.")
    return lines


def called_off(task: str, *, why: str) -> str:
    """To whoever works on it."""
    because = _plain(why)
    return f"task {task} was cancelled: stop working on it{f' ({because})' if because else ''}"


def text(lines: Sequence[str], *, orders: Sequence[str] = ()) -> str:
    """For an assistant's context; empty when there is nothing to say.

    Args:
        orders: What it is to do, before what there is to know.
    """
    said = "\n".join([*(f"From envmgr: {order}." for order in orders), *_listed(lines)])
    return said if len(said) <= MOST_CHARS else f"{said[: MOST_CHARS - 1]}\N{HORIZONTAL ELLIPSIS}"


def _listed(lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    shown = [f"- {line}" for line in lines[:_MOST_LINES]]
    if len(lines) > _MOST_LINES:
        shown.append(f"- and {len(lines) - _MOST_LINES} more; the tools check_locks and recent_changes tell.")
    return [_HEAD, *shown]


def _of_change(news: News, change: ObservedChange) -> str:
    path, who = _plain(change.path), _plain(change.name) or "somebody"
    if change.agent == news.agent:
        if change.violates:
            holder = _plain(change.holder_name)
            return f"You changed {path}, which {holder} has locked. Leave it as it was, or agree with {holder} first."
        if change.is_main:
            return f"You changed {path} in the main checkout. Put it back, and make the change in your own worktree."
        return ""
    if change.violates and change.holder == news.agent:
        return f"{who} changed {path}, which you have locked."
    if change.path in news.paths:
        return f"{who} changed {path}, which you have changed, too: the two will have to be merged."
    if any(has_path(parse_target(grant.target), change.path) for grant in news.own):
        return f"{who} changed {path}, which you have locked by now."
    return ""


def _violated(news: News) -> frozenset[int]:
    """Tokens of locks that its own changes have met: the lines about those changes name them."""
    return frozenset(change.violates for change in news.changes if change.agent == news.agent)


def _of_grant(news: News, grant: Grant) -> str:
    if grant.holder == news.agent or grant.token in _violated(news):
        return ""
    what = f"{_plain(grant.name)} has locked {_plain(grant.target)} ({grant.mode}){_why(grant)}"
    target = parse_target(grant.target)
    if mine := sorted(path for path in news.paths if has_path(target, path)):
        return f"{what}; you have changed {', '.join(map(_plain, mine[:_NAMED]))}."
    if Mode.INTENT in (grant.mode, *(own.mode for own in news.own)):
        shared = next((found for own in news.own if (found := meets(own.target, grant.target))), "")
        return f"{what}; you hold {_plain(shared)}, too." if shared else ""
    return ""


def _why(grant: Grant) -> str:
    return f": {_plain(grant.reason)}" if grant.reason else ""


def _more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""


def _plain(words: str) -> str:
    one = _CONTROL.sub(" ", words).strip()
    return one if len(one) <= _WORDS else f"{one[: _WORDS - 3]}..."
