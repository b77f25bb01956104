"""A template with comments, from what was seen in a repository."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from envmgr.config.importers.findings import Finding
from envmgr.config.importers.proposing import last_services
from envmgr.config.importers.writing import comments, section
from envmgr.config.init.existing import Existing, existing
from envmgr.config.init.looking import Draft, Signs, assistants, look
from envmgr.config.nodes import Items, Leaf, Table, find, leaves
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
_UNSURE = "# Take the '# ' away if this keeps running and listens on $PORT or ${ports.http}:"
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
    found = existing(repo, is_declared=any(draft.is_sure and draft.is_declared for draft in signs.services))
    signs = _fitting(signs, found)
    return Proposal(
        text="".join(f"{line}\n" for line in _lines(repo, signs, found)),
        path=repo / PLACE,
        findings=_findings(signs, found),
    )


def _fitting(signs: Signs, found: Existing) -> Signs:
    """Guesses that go with what is described: none where that is all, as comments in a dev container, else after the containers."""
    taken = found.services()
    if not taken:
        return signs
    services = [draft for draft in signs.services if draft.name not in taken]
    if found.is_only_inside:
        services = [replace(draft, is_sure=False) for draft in services]
        return replace(signs, services=tuple(services), setup=())
    services = [] if found.runs_all else services
    is_host = bool(services) or any(part.format in ("procfile", "process-compose") for part in found.parts)
    return replace(
        signs,
        services=tuple(replace(draft, after=(*draft.after, *found.waitable())) for draft in services),
        setup=signs.setup if is_host else (),
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


def _findings(signs: Signs, found: Existing) -> tuple[str, ...]:
    services = tuple(
        f"service {draft.name}: {draft.command} ({draft.why}{'' if draft.is_sure else '; left as a comment'})"
        for draft in signs.services
    )
    return (*found.remarks, *signs.remarks, *services) or (
        "nothing that is known here; the template has an example to fill in",
    )


def _lines(repo: Path, signs: Signs, found: Existing) -> Iterator[str]:
    name = re.sub(r"[^\w .-]", "-", repo.resolve().name) or "this repository"
    yield from _HEAD.format(place=PLACE, description=_scalar(f"Work on {name}")).splitlines()
    tree, findings = found.tree(), [finding for part in found.parts for finding in part.findings]
    if tree is None:
        yield from _workspace(signs, ())
        yield from _services(signs)
    else:
        yield from _imported(signs, found, tree, findings)
    yield from _agent(signs, tree)


def _imported(signs: Signs, found: Existing, tree: Table, findings: Sequence[Finding]) -> Iterator[str]:
    """What the repository describes, with the guesses behind it."""
    yield ""
    yield f"# From {', '.join(found.sources)}; what became otherwise is told where it stands."
    yield from (f"# {line}" for line in comments(f for f in findings if not f.service))
    for key in ("params", "secrets", "env_file", "env", "ports"):
        if key in tree.items:
            yield ""
            yield from section(key, tree, findings)
    copy, before = _texts(tree, "copy"), _texts(tree, "setup")
    yield from _workspace(replace(signs, copy=tuple(dict.fromkeys((*signs.copy, *copy)))), before)
    yield ""
    yield from section("services", tree, findings)
    for draft in signs.services:
        yield ""
        if not draft.is_sure:
            yield _UNSURE
        yield from ((line if draft.is_sure else f"# {line}") for line in _service(draft))
    if "hooks" in tree.items:
        yield ""
        yield from section("hooks", tree, findings)


def _texts(tree: Table, key: str) -> list[str]:
    """Single texts of a list below `workspace`; a command of several words is joined."""
    found = find(tree, ("workspace", key))
    entries = found.items if isinstance(found, Items) else ()
    return [
        shlex.join(leaf.text for _, leaf in leaves(entry)) if isinstance(entry, Items) else entry.text
        for entry in entries
        if isinstance(entry, Leaf | Items)
    ]


def _workspace(signs: Signs, before: Sequence[str]) -> Iterator[str]:
    yield ""
    yield "workspace:"
    yield "  # The new branch starts here; --base says otherwise for one spawn."
    yield "  base: HEAD"
    if signs.copy:
        yield "  # Files git ignores, which a fresh worktree lacks."
        yield f"  copy: [{', '.join(signs.copy)}]"
    else:
        yield "  # copy: [.env]  # files git ignores, which a fresh worktree lacks"
    if before or signs.setup:
        yield "  # Run in the fresh worktree, in this order, before services start."
        yield "  setup:"
        yield from (f"    - {_scalar(line)}" for line in (*before, *signs.setup))


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
        yield _UNSURE
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


def _agent(signs: Signs, tree: Table | None) -> Iterator[str]:
    sure = [draft.name for draft in signs.services if draft.is_sure and draft.kind == "process"]
    last = sure[:1] or (last_services(tree) if tree else [])
    yield ""
    yield "agent:"
    yield from assistant()
    if last:
        yield f"  depends_on: [{', '.join(last)}]"
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
