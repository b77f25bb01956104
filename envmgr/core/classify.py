"""Take a symptom for a class of failure: what is known for sure first, then what programs wrote, then how it ended.

Pure. Each piece of evidence speaks for one class with a weight. The class of the weightiest piece wins; more pieces that
say the same make it surer. Weights of facts lie above those of log lines, and these above a bare exit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from envmgr.core import signs
from envmgr.core.fingerprints import error_lines, fingerprint, normal, plain
from envmgr.model.incident import Diagnosis, Evidence, FailureClass, Part, Rung, Symptom

_MOST = 0.99
_SCREEN_LINES = 12
_MISCONFIGURED = {
    126: "it cannot be executed",
    127: "there is no such command",
    78: "its configuration is wrong",
}
_KILLED, _INTERRUPTED = ("SIGKILL", 137), ("SIGINT", 130)

ENTRIES: Mapping[FailureClass, Rung] = {
    FailureClass.CRASH: Rung.SERVICE,
    FailureClass.HANG: Rung.SERVICE,
    FailureClass.DEPENDENCY: Rung.WAIT,
    FailureClass.MEMORY: Rung.REALLOCATE,
    FailureClass.DISK: Rung.REALLOCATE,
    FailureClass.DESCRIPTORS: Rung.REALLOCATE,
    FailureClass.PORT_CONFLICT: Rung.REALLOCATE,
    FailureClass.NETWORK: Rung.WAIT,
    FailureClass.ENGINE: Rung.WAIT,
    FailureClass.CONFIGURATION: Rung.PERSON,
    FailureClass.SESSION: Rung.SESSION,
    FailureClass.ASSISTANT: Rung.SESSION,
    FailureClass.WORKSPACE: Rung.RESPAWN,
    FailureClass.HOST: Rung.WAIT,
    FailureClass.UNKNOWN: Rung.SERVICE,
}
"""The mildest rung that can help against each class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clue:
    """A piece of evidence and what it speaks for. `entry` only when it is not the usual one of the class."""

    failure: FailureClass
    weight: float
    evidence: Evidence
    advice: str = ""
    entry: Rung | None = None


def diagnose(symptom: Symptom) -> Diagnosis:
    """The class of a failure, why, and where the ladder is entered."""
    clues = sorted(_clues(symptom), key=lambda clue: -clue.weight)
    first = clues[0]
    agreeing = [clue for clue in clues if clue.failure is first.failure]
    return Diagnosis(
        failure=first.failure,
        entry=first.entry if first.entry is not None else ENTRIES[first.failure],
        confidence=_confidence(agreeing),
        evidence=tuple(clue.evidence for clue in clues),
        fingerprint=fingerprint(symptom.output, symptom.part.value, _end(symptom) or normal(symptom.error)),
        advice=_advice(symptom, agreeing),
    )


def _confidence(clues: list[_Clue]) -> float:
    doubt = 1.0
    for clue in clues:
        doubt *= 1 - clue.weight
    return round(min(_MOST, 1 - doubt), 2)


def _advice(symptom: Symptom, clues: list[_Clue]) -> str:
    said = next((clue.advice for clue in clues if clue.advice), "")
    if said or not symptom.output:
        return said
    return f"Its last words: {' | '.join(error_lines(symptom.output, count=2))}"


def _clues(symptom: Symptom) -> Iterator[_Clue]:
    if symptom.survivors:
        advice = "See what it is, end it or move it away, then `envmgr recover` the agent."
        yield _clue(
            FailureClass.UNKNOWN, 0.99, symptom, "process", symptom.words, advice=advice, entry=Rung.PERSON
        )
    match symptom.part:
        case Part.ASSISTANT:
            yield from _of_assistant(symptom)
        case Part.SERVICE:
            yield from _facts(symptom)
            yield from _written(symptom)
            yield from _ended(symptom)
        case Part.SESSION | Part.WORKSPACE | Part.ENGINE | Part.HOST:
            yield _clue(FailureClass(symptom.part.value), 0.9, symptom, symptom.part.value, symptom.words)
    yield _clue(FailureClass.UNKNOWN, 0.2, symptom, "envmgr", symptom.words)


def _clue(
    failure: FailureClass,
    weight: float,
    symptom: Symptom,
    source: str,
    text: str,
    *,
    advice: str = "",
    entry: Rung | None = None,
) -> _Clue:
    evidence = Evidence(source=source, text=text, at=symptom.at)
    return _Clue(failure=failure, weight=weight, evidence=evidence, advice=advice, entry=entry)


# --- services --------------------------------------------------------------------------------------------


def _facts(symptom: Symptom) -> Iterator[_Clue]:
    """What envmgr, the kernel or the engine know, whatever the program wrote."""
    if symptom.waits_for:
        text = f"{symptom.waits_for}, which it needs, was not ready"
        advice = f"Look at {symptom.waits_for} first."
        yield _clue(FailureClass.DEPENDENCY, 0.95, symptom, "dependency", text, advice=advice)
    if symptom.host_is_strained and symptom.is_hang:
        text = "the machine is overloaded, or has just woken up"
        yield _clue(FailureClass.HOST, 0.96, symptom, "host", text)
    if symptom.foreign:
        text = f"its port is taken by {symptom.foreign}"
        advice = f"End {symptom.foreign}, or drop `fixed` from the port so that another one is chosen."
        yield _clue(FailureClass.PORT_CONFLICT, 0.98, symptom, "port", text, advice=advice)
    if symptom.out_of_memory:
        advice = "Raise `limits.memory` of the service, or make it need less."
        text = "it was killed at its memory limit"
        yield _clue(FailureClass.MEMORY, 0.98, symptom, "kernel", text, advice=advice)
    if symptom.over_limit:
        yield _over_limit(symptom)
    if symptom.disk_is_full:
        text = "its disk has no room left"
        yield _clue(FailureClass.DISK, 0.88, symptom, "disk", text, advice=signs.FULL)
    if symptom.is_hang:
        yield _clue(FailureClass.HANG, 0.8, symptom, "probe", symptom.words)


def _over_limit(symptom: Symptom) -> _Clue:
    is_memory = "memory" in symptom.over_limit
    failure = FailureClass.MEMORY if is_memory else FailureClass.DESCRIPTORS
    advice = "Raise that limit of the service in the template, or make it need less."
    return _clue(failure, 0.98, symptom, "limit", symptom.over_limit, advice=advice)


def _written(symptom: Symptom) -> Iterator[_Clue]:
    """What it wrote, and why it could not be executed. An error of the start that nothing explains is the template's."""
    lines = [plain(line) for line in symptom.output]
    known = False
    for found in signs.find(signs.OF_SERVICES, [symptom.error] if symptom.error else []):
        known = found.sign.failure is not FailureClass.CRASH
        yield _of_sign(symptom, found, "error", surer=0.05)
    if symptom.error and not known:
        advice = "Install the program, or mend `command`, `cwd` and `image` in the template."
        yield _clue(FailureClass.CONFIGURATION, 0.95, symptom, "exec", symptom.error, advice=advice)
    for found in signs.find(signs.OF_SERVICES, lines):
        yield _of_sign(symptom, found, "log")


def _of_sign(symptom: Symptom, found: signs.Found, source: str, *, surer: float = 0.0) -> _Clue:
    weight = min(_MOST, found.sign.weight + surer)
    return _clue(found.sign.failure, weight, symptom, source, found.line[:300], advice=found.advice)


def _ended(symptom: Symptom) -> Iterator[_Clue]:
    end = _end(symptom)
    if not end:
        return
    if symptom.exit_code in _MISCONFIGURED:
        why = _MISCONFIGURED[symptom.exit_code]
        advice = "Mend `command`, or what it calls, in the template."
        yield _clue(FailureClass.CONFIGURATION, 0.95, symptom, "exit", f"{end}: {why}", advice=advice)
    elif _was(symptom, _KILLED) and symptom.is_exhausted:
        text = f"{end} again and again, and not by envmgr: the kernel does that when memory is short"
        advice = "Look at `dmesg` for the OOM killer; raise `limits.memory`, or run fewer agents."
        yield _clue(FailureClass.MEMORY, 0.6, symptom, "exit", text, advice=advice)
    elif _was(symptom, _KILLED):
        text = f"{end}, and not by envmgr: a person, or the kernel because memory was short"
        yield _clue(FailureClass.CRASH, 0.5, symptom, "exit", text)
    else:
        yield _clue(FailureClass.CRASH, 0.5, symptom, "exit", end)


def _end(symptom: Symptom) -> str:
    if symptom.exit_signal:
        return f"it ended with signal {symptom.exit_signal}"
    return "" if symptom.exit_code is None else f"it ended with status {symptom.exit_code}"


def _was(symptom: Symptom, end: tuple[str, int]) -> bool:
    """Whether it was this signal, also behind a shell that passes it on as 128 + n."""
    return symptom.exit_signal == end[0] or symptom.exit_code == end[1]


# --- assistants ------------------------------------------------------------------------------------------


def _of_assistant(symptom: Symptom) -> Iterator[_Clue]:
    """Limits, logins, dialogs and people's own interrupts are no crashes (R-26)."""
    end = _end(symptom)
    if symptom.exit_signal and not _was(
        symptom, _INTERRUPTED
    ):  # whatever stood on its screen, it was ended by force
        yield _clue(FailureClass.ASSISTANT, 0.95, symptom, "exit", end)
        return
    yield from _on_screen(symptom, has_ended=bool(end))
    if _was(symptom, _INTERRUPTED):
        advice = "It was interrupted at its terminal; `envmgr recover` brings it back."
        yield _clue(FailureClass.ASSISTANT, 0.75, symptom, "exit", end, advice=advice, entry=Rung.PERSON)
    elif symptom.error or symptom.exit_code in _MISCONFIGURED:
        advice = "Install the assistant, or mend `agent` in the template."
        yield _clue(FailureClass.CONFIGURATION, 0.9, symptom, "exit", symptom.error or end, advice=advice)
    else:
        yield _clue(FailureClass.ASSISTANT, 0.5, symptom, "exit", end or symptom.words)


def _on_screen(symptom: Symptom, *, has_ended: bool) -> Iterator[_Clue]:
    """Only the end of the screen counts: above it stands what it worked on, which may be about limits and logins."""
    tail = [text for line in symptom.output if (text := plain(line).strip())][-_SCREEN_LINES:]
    for found in signs.find(signs.OF_ASSISTANTS, tail):
        entry, advice = Rung.WAIT, "It is limited by its provider: nothing to do but wait."
        if found.sign is signs.AUTH:
            entry, advice = Rung.PERSON, "Log in again: attach to it and follow what it says."
        elif found.sign is signs.DIALOG:
            advice = "It asks something: attach to it and answer."
        elif reset := signs.RESET.search(found.line):
            advice = f"It is limited by its provider until {reset['when'].strip()}: nothing to do but wait."
        if not (has_ended and found.sign is signs.DIALOG):
            evidence = Evidence(source="screen", text=found.line[:300], at=symptom.at)
            weight = found.sign.weight
            yield _Clue(
                failure=FailureClass.ASSISTANT, weight=weight, evidence=evidence, advice=advice, entry=entry
            )
