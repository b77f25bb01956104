"""Whose a thing is and whether it is left over. Pure: what was seen, what is recorded, and for how long it has been seen.

Any doubt ends in a verdict that leaves the thing alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from envmgr.model.resource import Judged, Kind, Owner, Records, Sighting, Standing, Verdict

SHARED_DAEMONS = (
    "*gradledaemon*",
    "*kotlincompiledaemon*",
    "*gradle-launcher*",
    "*watchman*",
    "*/nx/src/daemon/*",
    "*turbo*daemon*",
    "*bazel(*",
    "*vbcscompiler*",
    "*msbuild*nodereuse:true*",
    "*sccache*",
    "*bloop*",
    "*mill*daemon*",
    "*dmypy*",
    "*buildkitd*",
    "*dockerd*",
    "*containerd*",
    "*ssh-agent*",
    "*gpg-agent*",
    "adb *fork-server*",
    "*emacs*--daemon*",
    "*systemd*",
    "*dbus-daemon*",
)
"""Command lines, in small letters, of programs that the first who needs them starts and that then serve everybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When something may be removed.

    Attributes:
        young_s: Age below which a thing is left alone.
        grace_s: What must lie between two looks that both took it for an orphan.
        at_most: Removals in one pass.
        shared_daemons: Globs over command lines in small letters.
    """

    young_s: float = 300.0
    grace_s: float = 300.0
    at_most: int = 20
    shared_daemons: tuple[str, ...] = SHARED_DAEMONS


def judge(seen: Sighting, records: Records, policy: Policy) -> Judged:
    """The verdict on one thing."""
    owner = records.owners.get(seen.agent)
    verdict, reason = _verdict(seen, owner, records, policy)
    named = owner.name if owner else seen.agent
    is_kept = verdict is Verdict.ORPHAN and bool(seen.holds)
    if is_kept:
        reason = f"{reason}; kept, because it holds {seen.holds}"
    return Judged(sighting=seen, verdict=verdict, reason=reason, owner=named, is_quarantined=is_kept)


def _verdict(seen: Sighting, owner: Owner | None, records: Records, policy: Policy) -> tuple[Verdict, str]:
    if seen.unsure:
        return Verdict.UNKNOWN, seen.unsure
    if stranger := _stranger(seen, owner, records):
        return Verdict.FOREIGN, stranger
    if seen.belongs:
        return Verdict.TRACKED, seen.belongs
    if owner is not None and (why := _rightful(seen, owner)):
        return Verdict.TRACKED, why
    if seen.kind is Kind.PROCESS and (doubt := _doubt(seen, policy)):
        return doubt
    if seen.age_s is not None and seen.age_s < policy.young_s:
        return Verdict.YOUNG, f"made less than {policy.young_s:g} s ago"
    return Verdict.ORPHAN, _why_orphan(seen, owner)


def _stranger(seen: Sighting, owner: Owner | None, records: Records) -> str:
    """Why it is not of this installation; empty when it is. Ids of agents are random and never used again."""
    if seen.instance:
        return "" if seen.instance == records.instance else f"of another installation ({seen.instance})"
    if owner is not None or seen.agent in records.past:
        return ""
    return "nothing says that it is of this installation"


def _rightful(seen: Sighting, owner: Owner) -> str:
    """Why the owner has it; empty when it should not."""
    if owner.standing is Standing.BUSY:
        return f"of {owner.name}, whose things are left alone just now"
    if seen.outlives:
        return f"of {owner.name}"
    if owner.standing is Standing.UP and seen.generation in (None, owner.generation):
        return f"of {owner.name}, which is up"
    if owner.standing is Standing.UP and seen.generation is not None and seen.generation > owner.generation:
        return f"of a later generation of {owner.name} than is recorded"
    return ""


def _doubt(seen: Sighting, policy: Policy) -> tuple[Verdict, str] | None:
    """A marker alone never kills: whoever starts a build daemon first gives it theirs."""
    if is_shared_daemon(seen.name.partition(" ")[2], policy):
        return (
            Verdict.FOREIGN,
            "a shared daemon: it carries the marker of whoever started it, and serves others too",
        )
    if not seen.proof:
        return Verdict.UNKNOWN, "only its environment names the agent; neither its folder nor its ports do"
    return None


def is_shared_daemon(command: str, policy: Policy) -> bool:
    """Whether it serves everybody, whoever has started it."""
    return any(fnmatchcase(command.lower(), pattern.lower()) for pattern in policy.shared_daemons)


def _why_orphan(seen: Sighting, owner: Owner | None) -> str:
    proof = f" ({seen.proof})" if seen.proof else ""
    if owner is None:
        return f"there is no agent {seen.agent or 'for it'} any more{proof}"
    if owner.standing is Standing.DOWN:
        return f"{owner.name} is stopped{proof}"
    return f"of generation {seen.generation} of {owner.name}, which is at {owner.generation}{proof}"


def again(judged: Iterable[Judged], first_seen: Mapping[str, float], *, now: float) -> dict[str, float]:
    """Since when each orphan has been one, by key; what was anything else in between begins anew."""
    return {
        one.sighting.key: first_seen.get(one.sighting.key, now)
        for one in judged
        if one.verdict is Verdict.ORPHAN
    }


def due(
    judged: Iterable[Judged], first_seen: Mapping[str, float], *, now: float, policy: Policy
) -> Sequence[Judged]:
    """What may be removed now, in order: seen before, a grace ago; at most as many as the policy says."""
    found = [
        one
        for one in judged
        if one.is_removable
        and (since := first_seen.get(one.sighting.key)) is not None
        and now - since >= policy.grace_s
    ]
    return in_order(found)[: policy.at_most]


def in_order(judged: Iterable[Judged]) -> Sequence[Judged]:
    """First what uses the others."""
    order = list(Kind)
    return sorted(judged, key=lambda one: order.index(one.sighting.kind))


def sparing(policy: Policy, shared_daemons: Iterable[str]) -> Policy:
    """The policy with more programs that serve everybody."""
    return replace(policy, shared_daemons=(*policy.shared_daemons, *shared_daemons))


def named(judged: Iterable[Judged], names: Collection[str]) -> Sequence[Judged]:
    """Those whose name (of a process or a port the number), key or agent is given; all without names."""
    return [one for one in judged if not names or not _words(one).isdisjoint(names)]


def _words(one: Judged) -> set[str]:
    seen = one.sighting
    return {seen.name, seen.name.partition(" ")[0], seen.key, seen.agent, one.owner} - {""}


def leaked(judged: Iterable[Judged]) -> Sequence[Judged]:
    """What should not be there."""
    return [one for one in judged if one.verdict is Verdict.ORPHAN]
