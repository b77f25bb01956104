"""Find a repository and the commits and branches in it."""

from __future__ import annotations

import difflib
import hashlib
import re
from pathlib import Path

from envmgr.aio.blocking import look
from envmgr.drivers.command import run
from envmgr.drivers.git.invoke import environment, failure, git, must, shown, words
from envmgr.errors import ConfigError
from envmgr.protocols.workspaces import Repository

_WHERE = (
    "rev-parse",
    "--path-format=absolute",
    "--git-common-dir",
    "--git-dir",
    "--is-bare-repository",
    "--is-inside-work-tree",
    "--show-cdup",
    "--git-path",
    "hooks",
)
_LINES = 6


async def find(path: Path) -> tuple[Repository, Path]:
    """See `Workspaces.find`; one git process in the common case.

    Also returns the folder of the user's hooks, relative if it is a part of each worktree.
    """
    folder = await look("file", 5.0, _folder_of, path)
    # The commit comes last: git prints what it knows before it stumbles over a missing one.
    done = await run(("git", *_WHERE, "HEAD^{commit}"), cwd=folder, env=environment())
    lines = done.stdout.splitlines()
    if len(lines) < _LINES:
        raise _not_a_repository(folder, words(done))
    common, own, bare, inside, up, hooks = lines[:_LINES]
    if not done.is_ok:
        await _must_have_commits(folder)
    if own != common or (inside == "false" and bare == "false"):
        top = await _main_checkout(Path(common))
    else:
        top = Path(common) if bare == "true" else folder / up
    repo = await look("file", 5.0, _repository, top, Path(common))
    # git shows a relative core.hooksPath below where we ask, yet means the top of whichever worktree runs the hook.
    is_relative = Path(hooks).is_relative_to(folder) and not Path(hooks).is_relative_to(common)
    return repo, Path(hooks).relative_to(folder) if is_relative else Path(hooks)


def _folder_of(path: Path) -> Path:
    folder = path if path.is_dir() else path.parent
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {shown(folder)}", hint="Name the folder of a git repository.")
    return folder.resolve()


def _repository(top: Path, common: Path) -> Repository:
    root, common_dir = top.resolve(), common.resolve()
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", root.name.removesuffix(".git")).strip("-")[:40] or "repository"
    key = f"{name}-{hashlib.sha256(bytes(common_dir)).hexdigest()[:8]}"
    return Repository(root=root, common_dir=common_dir, key=key)


def _not_a_repository(folder: Path, said: str) -> ConfigError:
    if "dubious ownership" in said:
        return ConfigError(
            f"git refuses {shown(folder)}: it belongs to another user",
            hint=f"If you trust it: git config --global --add safe.directory '{folder}'",
        )
    if "not a git repository" in said:
        return ConfigError(
            f"{shown(folder)} is not in a git repository", hint="Change into one, or run `git init` there."
        )
    return ConfigError(
        f"git cannot read the repository of {shown(folder)}: {said}", hint="Run `git status` there."
    )


async def _must_have_commits(folder: Path) -> None:
    # HEAD may name a branch that was never made while others exist, as in many bare clones.
    if not (await git("rev-list", "--all", "--max-count=1", cwd=folder)).stdout.strip():
        raise ConfigError(
            f"the repository of {shown(folder)} has no commit yet",
            hint="Agents work on branches, which start at a commit: git commit --allow-empty -m 'Begin'",
        )


async def _main_checkout(common_dir: Path) -> Path:
    """The main checkout as seen from a linked worktree or from inside the git directory."""
    done = await git(
        f"--git-dir={common_dir}", "config", "--get-regexp", r"^core\.(bare|worktree)$", cwd=common_dir
    )
    settings = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    if settings.get("core.bare") == "true":
        return common_dir
    if place := settings.get("core.worktree"):
        return common_dir / place
    if common_dir.name == ".git":
        return common_dir.parent
    raise ConfigError(
        f"cannot tell where the main checkout of {shown(common_dir)} is",
        hint="Run it from the main checkout.",
    )


_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def head(repo: Repository) -> str:
    """The commit of HEAD, read from the ref files (gitrepository-layout(5)); empty when only git can tell.

    A process less on the way of every spawn. Packed refs and the reftable format are left to git.
    """
    try:
        text = (repo.common_dir / "HEAD").read_text(encoding="utf-8").strip()
        if text.startswith("ref: refs/heads/"):
            text = (repo.common_dir / text.removeprefix("ref: ")).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return text if _COMMIT.fullmatch(text) else ""


async def resolve(repo: Repository, base: str) -> str:
    """See `Workspaces.resolve`."""
    if base == "HEAD" and (commit := await look("file", 5.0, head, repo)):
        return commit
    done = await git(
        "rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}", cwd=repo.root
    )
    if done.is_ok:
        return done.stdout.strip()
    listed = await must(
        "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/remotes", "refs/tags", cwd=repo.root
    )
    close = difflib.get_close_matches(base, listed.splitlines(), n=3, cutoff=0.5)
    raise ConfigError(
        f"there is no commit `{base}` in {repo.root.name}",
        hint=f"Did you mean {' or '.join(close)}?" if close else "`git branch --all` lists what there is.",
        details={"base": base, "close": close},
    )


async def branch_exists(repo: Repository, branch: str) -> bool:
    """See `Workspaces.branch_exists`."""
    await must_be_valid(repo, branch)
    return (await branch_tip(repo, branch)) is not None


async def must_be_valid(repo: Repository, branch: str) -> None:
    """Raise ConfigError if git would not take the name; `@{-1}` and the like are no names."""
    checked = await git("check-ref-format", "--branch", branch, cwd=repo.root)
    if not checked.is_ok or checked.stdout != f"{branch}\n":
        raise ConfigError(
            f"`{branch}` is not a valid branch name",
            hint="Use letters, digits, `-`, `_` and `/`, as in agent/fix-login.",
        )


async def branch_tip(repo: Repository, branch: str) -> str | None:
    """Commit id the local branch points to; None if there is no such branch."""
    done = await git(
        "for-each-ref", "--format=%(objectname) %(refname)", f"refs/heads/{branch}", cwd=repo.root
    )
    if not done.is_ok:
        raise await failure(f"cannot look up the branch {branch}", done, folder=repo.root)
    # The pattern also matches branches below it, as `a` does for `a/b`.
    rows = (line.split(" ", 1) for line in done.stdout.splitlines())
    return next((commit for commit, name in rows if name == f"refs/heads/{branch}"), None)
