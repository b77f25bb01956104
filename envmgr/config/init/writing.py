"""A template with comments, from what was seen in a repository."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from envmgr.config.init.looking import Draft, Signs, assistants, look
from envmgr.errors import Conflict, NotFound, Unavailable

PLACE = Path(".envmgr") / "templates" / "default.yaml"

_HEAD = """\
# How an agent of this repository lives: its worktree, its services, its assistant.
#
#   envmgr template validate {place}
#   envmgr spawn --template default
#
# Every key: docs/reference/template.md of envmgr, or `envmgr template schema`.
envmgr: 1
name: default
description: {description}
"""
_EXAMPLE = Draft(name="web", command="npm run dev -- --port ${ports.http}", why="an example", is_sure=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A template to write, and what led to it.

    Attributes:
        path: Where it belongs.
        findings: Sentences for the person.
    """

    text: str
    path: Path
    findings: tuple[str, ...]


def propose(repo: Path) -> Proposal:
    """Look at a repository; writes nothing. Raises NotFound if there is no such folder."""
    if not repo.is_dir():
        raise NotFound(f"no folder {repo.name}", hint="Run it inside a repository.")
    signs = look(repo)
    return Proposal(
        text="".join(f"{line}\n" for line in _lines(repo, signs)),
        path=repo / PLACE,
        findings=_findings(signs),
    )


def write(proposal: Proposal, *, force: bool = False) -> None:
    """Put it in its place.

    Raises:
        Conflict: There is a file already, and `force` was not given.
    """
    try:
        proposal.path.parent.mkdir(parents=True, exist_ok=True)
        with proposal.path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(proposal.text)
    except FileExistsError as error:
        raise Conflict(f"{PLACE} exists", hint="Use --force to replace it.") from error
    except OSError as error:
        raise Unavailable(
            f"{PLACE} cannot be written: {error.strerror}", hint="Check the folder's mode and space."
        ) from error


def _findings(signs: Signs) -> tuple[str, ...]:
    services = tuple(
        f"service {draft.name}: {draft.command} ({draft.why}{'' if draft.is_sure else '; left as a comment'})"
        for draft in signs.services
    )
    return (*signs.remarks, *services) or (
        "nothing that is known here; the template has an example to fill in",
    )


def _lines(repo: Path, signs: Signs) -> Iterator[str]:
    name = re.sub(r"[^\w .-]", "-", repo.resolve().name) or "this repository"
    yield from _HEAD.format(place=PLACE, description=_scalar(f"Work on {name}")).splitlines()
    yield from _workspace(signs)
    yield from _services(signs)
    yield from _agent(signs)


def _workspace(signs: Signs) -> Iterator[str]:
    yield ""
    yield "workspace:"
    yield "  # The new branch starts here; --base says otherwise for one spawn."
    yield "  base: HEAD"
    if signs.copy:
        yield "  # Files git ignores, which a fresh worktree lacks."
        yield f"  copy: [{', '.join(signs.copy)}]"
    else:
        yield "  # copy: [.env]  # files git ignores, which a fresh worktree lacks"
    if signs.setup:
        yield "  # Run in the fresh worktree, in this order, before services start."
        yield "  setup:"
        yield from (f"    - {_scalar(line)}" for line in signs.setup)


def _services(signs: Signs) -> Iterator[str]:
    sure = [draft for draft in signs.services if draft.is_sure]
    unsure = [draft for draft in signs.services if not draft.is_sure] or ([] if sure else [_EXAMPLE])
    yield ""
    yield "# What the work needs running. Each agent gets ports of its own: ${ports.NAME}, and $PORT if there is one."
    if sure:
        yield "services:"
    for draft in sure:
        yield from _service(draft)
    if unsure:
        yield "# Take the '# ' away if this keeps running and listens on $PORT or ${ports.http}:"
    for draft in unsure:
        yield from (f"# {line}" for line in ([] if sure else ["services:"]))
        yield from (f"# {line}" for line in _service(draft))


def _service(draft: Draft) -> Iterator[str]:
    yield f"  {draft.name}:  # from {draft.why}"
    if draft.kind != "process":
        yield f"    kind: {draft.kind}"
    yield f"    command: {_scalar(draft.command)}"
    if draft.after:
        yield f"    depends_on: [{', '.join(draft.after)}]"
    if draft.has_port:
        yield "    ports: [http]"
    if draft.ready:
        yield "    ready:"
        yield from (f"      {line}" for line in draft.ready)
    if draft.has_port:
        yield "    exports:  # variables for whoever depends on it, and for the agent"
        yield f"      {draft.name.upper().replace('-', '_')}_URL: http://127.0.0.1:${{ports.http}}/"


def assistant() -> Iterator[str]:
    """Lines that choose an assistant that is installed."""
    if assistants()["claude_code"]:
        yield "  kind: claude_code"
        yield "  # permission_mode: acceptEdits"
    else:
        yield "  kind: command  # your shell; `claude_code` once Claude Code is installed"


def _agent(signs: Signs) -> Iterator[str]:
    first = next((draft.name for draft in signs.services if draft.is_sure and draft.kind == "process"), "")
    yield ""
    yield "agent:"
    yield from assistant()
    if first:
        yield f"  depends_on: [{first}]"
    if signs.tests:
        yield f"  # Tests run with: {signs.tests}"


def _scalar(text: str) -> str:
    """As YAML: plain where that is safe, else in single quotes."""
    if (
        re.fullmatch(r"[A-Za-z./][\w ./$={}@+,:-]*", text)
        and ": " not in text
        and not text.endswith((":", " "))
    ):
        return text
    return "'" + text.replace("'", "''") + "'"
