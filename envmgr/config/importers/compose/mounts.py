"""Volumes, tmpfs, configs and secrets of a compose service."""

from __future__ import annotations

from pathlib import PurePosixPath

from envmgr.config.importers.asking import is_nothing, listed, table, word, words, wrong
from envmgr.config.importers.compose.here import Here
from envmgr.config.importers.drafting import Draft
from envmgr.config.importers.units import size
from envmgr.config.nodes import Leaf, Node, Table, text_leaf
from envmgr.config.problems import Mark
from envmgr.core.placeholders import escape

_SOCKET = "docker.sock"
_LONG = (
    "type",
    "source",
    "target",
    "read_only",
    "bind",
    "volume",
    "tmpfs",
    "consistency",
    "src",
    "dst",
    "destination",
)


def volumes(here: Here, node: Node) -> None:
    """`volumes`, short and long."""
    for entry in listed(node, here.key("volumes")):
        if isinstance(entry, Table):
            _long(here, entry)
        else:
            _short(here, word(entry, f"each entry of {here.key('volumes')}"))


def _short(here: Here, leaf: Leaf) -> None:
    said = here.now(leaf, "volumes")
    parts = said.split(":")
    mode = parts.pop() if len(parts) > 1 and not parts[-1].startswith("/") else ""
    if len(parts) > 2 or not parts[-1].startswith("/"):
        raise wrong(leaf.mark, f"{here.key('volumes')}: {said!r} is not SOURCE:/TARGET or /TARGET")
    words_of_mode = set(mode.split(",")) - {""}
    if odd := words_of_mode - {"ro", "rw", "z", "Z", "cached", "delegated", "consistent", "nocopy"}:
        here.dropped(leaf.mark, "volumes", f"{said}: mode {', '.join(sorted(odd))} has no meaning here")
    source = parts[0] if len(parts) == 2 else ""
    is_bind = source.startswith((".", "/", "~"))
    mount(here, leaf.mark, source, parts[-1], is_bind=is_bind, is_read_only="ro" in words_of_mode)


def _long(here: Here, entry: Table) -> None:
    def said(*names: str) -> str:
        found = next((entry.items[name] for name in names if name in entry.items), None)
        return "" if found is None or is_nothing(found) else here.now(found, f"volumes.{names[0]}")

    kind, source, target = (
        said("type") or "volume",
        said("source", "src"),
        said("target", "dst", "destination"),
    )
    if not target.startswith("/"):
        raise wrong(
            entry.mark, f"{here.key('volumes')} needs 'target', an absolute path inside the container"
        )
    for key in entry.items:
        if key not in _LONG and not key.startswith("x-"):
            here.unsupported(entry.keys[key], f"volumes.{key}", "has no meaning here")
    more = table(entry.get("volume"), here.key("volumes.volume"))
    if more is not None and "subpath" in more.items:
        here.unsupported(more.keys["subpath"], "volumes.volume.subpath", "the whole volume is mounted")
    if kind == "tmpfs":
        options = table(entry.get("tmpfs"), here.key("volumes.tmpfs"))
        tmpfs_mount(here, entry.mark, target, options.get("size") if options else None)
    elif kind in ("volume", "bind"):
        is_read_only = entry.get("read_only")
        mount(
            here,
            entry.mark,
            source,
            target,
            is_bind=kind == "bind",
            is_read_only=bool(is_read_only and here.flag(is_read_only, "volumes.read_only")),
        )
    else:
        here.unsupported(entry.mark, "volumes", f"a mount of type {kind!r} ({target}) is left out")


def mount(here: Here, mark: Mark, source: str, target: str, *, is_bind: bool, is_read_only: bool) -> None:
    """Add a mount, unless it leads out of the worktree."""
    tail = ":ro" if is_read_only else ""
    if not is_bind:
        _volume(here, mark, source, target, tail)
        return
    inside = here.whole.project.places.inside(here.whole.project.folder(mark), source)
    if inside is None or source.startswith("/"):
        _outside(here, mark, source, target)
        return
    _remember_copy(here, inside, mark)
    add(here, mark, f"./{inside}" if inside != "." else ".", target, tail)


def add(here: Here, mark: Mark, source: str, target: str, tail: str = "") -> None:
    """One entry of our `volumes`; long where a colon would be misread."""
    if ":" in source + target:
        draft = Draft(mark)
        draft.put("type", "bind" if source.startswith(".") else "volume")
        draft.put("source", escape(source))
        draft.put("target", escape(target))
        if tail:
            draft.put("read_only", value=True)
        here.out.add("volumes", [draft.table()], mark)
        return
    short = f"{source}:{target}{tail}" if source else f"{target}{tail}"
    here.out.add("volumes", [text_leaf(mark, escape(short))], mark)


def _volume(here: Here, mark: Mark, source: str, target: str, tail: str) -> None:
    if not source:
        add(here, mark, "", target, tail)
        return
    name = here.whole.volumes.get(source)
    if name is None:
        raise wrong(
            mark,
            f"{here.key('volumes')}: volume {source!r} is not declared",
            f"Add it under 'volumes' of the file, or write ./{source} for a folder.",
        )
    add(here, mark, name, target, tail)


def _outside(here: Here, mark: Mark, source: str, target: str) -> None:
    if PurePosixPath(source).name == _SOCKET:
        says = "whoever has the engine's socket owns this machine, so it is not mounted; add it yourself if you must"
    elif source.startswith(("/", "~")):
        says = "a folder of this machine is not mounted; add it yourself if agents may share it"
    else:
        says = "leads out of the worktree, so it is not mounted"
    here.unsupported(mark, "volumes", f"{source} at {target}: {says}")


def _remember_copy(here: Here, inside: str, mark: Mark) -> None:
    """Files that git usually ignores are missing in a fresh worktree."""
    path = here.whole.project.places.top / inside
    if path.is_file() and (path.name.startswith(".env") or "secret" in inside):
        workspace = here.whole.out.below("workspace", mark)
        found = workspace.get("copy") or ()
        assert isinstance(found, list | tuple)
        if inside not in [item.text for item in found if isinstance(item, Leaf)]:
            workspace.add("copy", [text_leaf(mark, escape(inside))], mark)


def tmpfs(here: Here, node: Node) -> None:
    """`tmpfs`: paths, each with options after a colon."""
    for leaf in words(node, here.key("tmpfs")):
        target, _, options = here.now(leaf, "tmpfs").partition(":")
        sizes = [option[5:] for option in options.split(",") if option.startswith("size=")]
        tmpfs_mount(here, leaf.mark, target, text_leaf(leaf.mark, sizes[0]) if sizes else None)


def tmpfs_mount(here: Here, mark: Mark, target: str, limit: Node | None) -> None:
    """Memory at a path."""
    draft = Draft(mark)
    draft.put("type", "tmpfs")
    draft.put("target", escape(target))
    if limit is not None and not is_nothing(limit):
        draft.put("size", size(here.now(limit, "tmpfs.size"), limit.mark, here.key("tmpfs.size")), limit.mark)
    here.out.add("volumes", [draft.table()], mark)


def files(here: Here, node: Node, section: str) -> None:
    """`configs` and `secrets` that come from files: read-only binds."""
    declared = table(here.whole.tree.get(section), section)
    for entry in listed(node, here.key(section)):
        said = entry.get("source") if isinstance(entry, Table) else entry
        if said is None:
            raise wrong(entry.mark, f"{here.key(section)}: an entry needs 'source'")
        name = here.now(said, section)
        target = entry.get("target") if isinstance(entry, Table) else None
        where = here.now(target, section) if target is not None and not is_nothing(target) else ""
        if not where.startswith("/"):
            where = f"/run/secrets/{where or name}" if section == "secrets" else f"/{where or name}"
        what = table(declared.get(name), f"{section}.{name}") if declared else None
        if what is None:
            raise wrong(said.mark, f"{here.key(section)}: {name!r} is not declared under {section!r}")
        source = what.get("file")
        if source is None or is_nothing(source):
            kinds = ", ".join(key for key in what.items if not key.startswith("x-")) or "nothing"
            here.unsupported(said.mark, section, f"{name} is not a file but {kinds}, so {where} is missing")
        else:
            mount(
                here, source.mark, _dotted(here.now(source, section)), where, is_bind=True, is_read_only=True
            )


def _dotted(path: str) -> str:
    return path if path.startswith((".", "/", "~")) else f"./{path}"
