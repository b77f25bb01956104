"""Save all work of a worktree as one commit, and bring it back.

The layout is that of `git stash`: the commit's tree is the files as they are, its first parent HEAD, its second a commit
of the index. While git is in the middle of a merge or the like, an index has several versions of a file and cannot
be a tree; then the second parent's tree holds every index entry as `<stage>/<path>` and git's state files below `state/`.
"""

from __future__ import annotations

import errno
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from envmgr.aio.blocking import act, look
from envmgr.drivers.git.entries import admin_of
from envmgr.drivers.git.invoke import disk_full, failure, free_bytes, git, must
from envmgr.drivers.git.work import submodule_work
from envmgr.errors import Conflict, NotFound, Unavailable
from envmgr.protocols.workspaces import Worktree

_NAMESPACE = "refs/envmgr/"
# A rebase is left out: it works with a detached HEAD, and a restored worktree is on its branch.
_STATE = ("MERGE_HEAD", "MERGE_MODE", "MERGE_MSG", "CHERRY_PICK_HEAD", "REVERT_HEAD")
_STATE_MARKS = {"MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD"}
DEADLINE_S = 300.0
_INNER = re.compile(
    r"adding embedded git repository: (?P<path>.*)|'(?P<empty>.*)/' does not have a commit checked out"
)
# Works without user.name and user.email, and tells these commits from the user's.
_IDENTITY = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (("NAME", "envmgr"), ("EMAIL", "envmgr@localhost"))
}
# One flush for all new objects instead of one for each.
_SAFE_ADD = ("-c", "core.fsyncMethod=batch", "-c", "core.safecrlf=false", "add", "--all", "--sparse")
_TRIES = 3
_BASE = re.compile(r"^Base: ([0-9a-f]+)$", re.MULTILINE)
_STAGED = "Layout: stages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What stands in a snapshot."""

    commit: str
    head: str
    index: str
    base: str
    has_stages: bool


async def snapshot(worktree: Worktree, ref: str, *, unless: str = "") -> str:
    """See `Workspaces.snapshot`."""
    _must_be_ours(ref)
    folder = worktree.path
    admin = await look("file", 5.0, admin_of, folder)
    has_submodules = await look("file", 5.0, (folder / ".gitmodules").is_file)
    if has_submodules and (name := await submodule_work(folder)):
        raise Conflict(
            f"submodule {name} holds work that a snapshot of the worktree cannot save",
            hint="Commit and push it inside the submodule first.",
            details={"submodule": name},
        )
    head = await must("rev-parse", "--verify", "HEAD^{commit}", cwd=folder)
    async with _private_index(admin) as env:
        index_tree, has_stages = await _index_tree(folder, admin, env)
        await _add_living(folder, env)
        tree = await must("write-tree", cwd=folder, env=env, deadline_s=DEADLINE_S)
    if unless and await _holds(folder, unless, [head, index_tree, tree]):
        await _verify(folder, unless, tree)
        return ""
    index = await _commit(folder, index_tree, [head], _STAGED if has_stages else "Layout: tree")
    commit = await _commit(folder, tree, [head, index], f"Base: {worktree.base}\nBranch: {worktree.branch}")
    await must("update-ref", ref, commit, cwd=folder)
    await _verify(folder, ref, tree)
    return commit


async def _holds(folder: Path, ref: str, wanted: list[str]) -> bool:
    """Whether an earlier snapshot has this HEAD, this index and these files."""
    parts = (f"{ref}^1", f"{ref}^2^{{tree}}", f"{ref}^{{tree}}")
    done = await git("rev-parse", *parts, cwd=folder)
    return done.is_ok and done.stdout.split() == wanted


def _must_be_ours(ref: str) -> None:
    if not ref.startswith(_NAMESPACE):
        raise Conflict(f"{ref} is not a place for snapshots", hint=f"They live below {_NAMESPACE}.")


@asynccontextmanager
async def _private_index(admin: Path) -> AsyncIterator[dict[str, str]]:
    """The environment for work on a copy of the worktree's index."""
    folder = await act("file", _copy_index, admin)
    try:
        yield {"GIT_INDEX_FILE": str(folder / "index")}
    finally:
        await act("file", shutil.rmtree, folder, ignore_errors=True)


def _copy_index(admin: Path) -> Path:
    """The new folder that the copy lies in. Raises Unavailable when there is no room for it."""
    try:
        folder = Path(tempfile.mkdtemp(dir=admin, prefix="envmgr-"))
    except OSError as error:
        raise _no_copy(admin, error) from error
    try:
        # With its time: git takes files changed in the index's own second for unchanged otherwise.
        if (admin / "index").exists():
            shutil.copy2(admin / "index", folder / "index")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise _no_copy(admin, error) from error
    return folder


def _no_copy(admin: Path, error: OSError) -> Unavailable:
    what = "the index cannot be copied"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(what, admin, free_bytes(admin))
    return Unavailable(f"{what}: {error.strerror}", hint="Run `envmgr doctor`.")


async def _index_tree(folder: Path, admin: Path, env: dict[str, str]) -> tuple[str, bool]:
    """Tree of the index, and whether it is in the layout of stages."""
    state = await look("file", 5.0, _state_files, admin)
    done = await git("write-tree", cwd=folder, env=env, deadline_s=DEADLINE_S)
    if done.is_ok and not _STATE_MARKS & state.keys():
        return done.stdout.strip(), False
    listed = await must("ls-files", "--stage", "-z", cwd=folder, env=env, deadline_s=DEADLINE_S)
    if "\ufffd" in listed:
        raise Unavailable(
            "a file name is not UTF-8, which a merge under way cannot be saved with", hint="Finish the merge."
        )
    entries = [_with_stage(entry) for entry in listed.split("\0") if entry]
    for name, text in state.items():
        blob = await must("hash-object", "-w", "--stdin", cwd=folder, stdin=text)
        entries.append(f"100644 {blob} 0\tstate/{name}")
    other = {"GIT_INDEX_FILE": env["GIT_INDEX_FILE"] + "-stages"}
    await must("update-index", "-z", "--index-info", cwd=folder, env=other, stdin=_lines(entries))
    return await must("write-tree", cwd=folder, env=other, deadline_s=DEADLINE_S), True


def _state_files(admin: Path) -> dict[str, str]:
    return {
        name: (admin / name).read_text("utf-8", "surrogateescape")
        for name in _STATE
        if (admin / name).is_file()
    }


def _with_stage(entry: str) -> str:
    about, path = entry.split("\t", 1)
    mode, blob, stage = about.split(" ")
    return f"{mode} {blob} 0\t{stage}/{path}"


def _lines(entries: list[str]) -> str:
    return "".join(f"{entry}\0" for entry in entries)


async def _add_living(folder: Path, env: Mapping[str, str]) -> None:
    """As `add_all`, of files that may change, shrink or go away just while git reads them."""
    for left in reversed(range(_TRIES)):
        try:
            await add_all(folder, env)
        except Unavailable as error:
            if not left or "free_bytes" in error.details:
                raise
            # One that shrinks kills git (SIGBUS), which then leaves its lock.
            await act("file", Path(env["GIT_INDEX_FILE"] + ".lock").unlink, missing_ok=True)
        else:
            return


async def add_all(
    folder: Path, env: Mapping[str, str] | None = None, *, pass_fds: Sequence[int] = ()
) -> None:
    """Enter every file that is not ignored into the index.

    Raises:
        Conflict: A folder is a repository of its own.
    """
    added = await git(*_SAFE_ADD, cwd=folder, env=env, deadline_s=DEADLINE_S, pass_fds=pass_fds)
    # git saves a repository inside a worktree as a mere commit id, or not at all.
    if inner := _INNER.search(added.stderr):
        path = inner["path"] or inner["empty"]
        raise Conflict(
            f"{path} is a repository of its own, which a snapshot cannot save",
            hint="Push it, or move it out of the worktree.",
            details={"path": path},
        )
    if not added.is_ok:
        raise await failure("the files cannot be saved", added, folder=folder)


async def _commit(folder: Path, tree: str, parents: list[str], note: str) -> str:
    words = [word for parent in parents for word in ("-p", parent)]
    message = f"Snapshot by envmgr\n\n{note}\n"
    return await must(
        "commit-tree", "--no-gpg-sign", *words, "-F", "-", tree, cwd=folder, env=_IDENTITY, stdin=message
    )


async def _verify(folder: Path, ref: str, tree: str) -> None:
    """Read back: the ref has our tree, and every object below it is there."""
    found = await must("rev-parse", "--verify", f"{ref}^{{tree}}", cwd=folder)
    walked = await git(
        "rev-list", "--objects", "--quiet", ref, "--not", f"{ref}^1", cwd=folder, deadline_s=DEADLINE_S
    )
    if found != tree or not walked.is_ok:
        raise Unavailable("the snapshot cannot be read back", hint="Run `git fsck` in the repository.")


async def read(folder: Path, ref: str) -> Saved:
    """What a snapshot consists of.

    Raises:
        NotFound: There is no such snapshot.
    """
    _must_be_ours(ref)
    done = await git("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", cwd=folder)
    if not done.is_ok:
        raise NotFound(f"there is no snapshot {ref}", hint=f"`git for-each-ref {_NAMESPACE}` lists them.")
    commit = done.stdout.strip()
    shown = await must("show", "--no-patch", "--format=%P%n%B", commit, cwd=folder)
    parents, _, message = shown.partition("\n")
    head, index = parents.split(" ")
    noted = await must("show", "--no-patch", "--format=%B", index, cwd=folder)
    base = _BASE.search(message)
    return Saved(
        commit=commit, head=head, index=index, base=base[1] if base else head, has_stages=_STAGED in noted
    )


async def drop(folder: Path, ref: str) -> None:
    """See `Workspaces.drop_snapshot`."""
    _must_be_ours(ref)
    await must("update-ref", "-d", ref, cwd=folder)


async def apply(worktree: Worktree, saved: Saved, *, pass_fds: Sequence[int] = ()) -> None:
    """Write files and index of a snapshot into a worktree whose index knows all files that may go."""
    folder = worktree.path
    written = await git(
        "read-tree", "--reset", "-u", saved.commit, cwd=folder, deadline_s=DEADLINE_S, pass_fds=pass_fds
    )
    if not written.is_ok:
        raise await failure("the files cannot be written", written, folder=folder)
    if saved.has_stages:
        await _apply_stages(folder, saved.index)
    else:
        await must("read-tree", "-m", saved.index, cwd=folder, deadline_s=DEADLINE_S)
    # Only spares the next `git status` some work; exit status 1 says that files differ from the index.
    await git("update-index", "-q", "--refresh", cwd=folder, deadline_s=DEADLINE_S)


async def _apply_stages(folder: Path, index: str) -> None:
    admin = await look("file", 5.0, admin_of, folder)
    listed = await must("ls-tree", "-r", "-z", "--full-tree", index, cwd=folder, deadline_s=DEADLINE_S)
    entries = []
    for line in filter(None, listed.split("\0")):
        about, place = line.split("\t", 1)
        mode, _, blob = about.split(" ")
        stage, path = place.split("/", 1)
        if stage != "state":
            entries.append(f"{mode} {blob} {stage}\t{path}")
        elif path in _STATE:
            text = (await git("cat-file", "blob", blob, cwd=folder)).stdout
            await act("file", (admin / path).write_text, text, "utf-8", "surrogateescape")
    await must("read-tree", "--empty", cwd=folder)
    await must("update-index", "-z", "--index-info", cwd=folder, stdin=_lines(entries))
