"""The process table, read straight from /proc.

Keepers use it too: standard library only, and nothing whose import costs memory (no typing, pathlib, dataclasses).
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Row:
    """One process. `start_ticks` is field 22 of its stat file: clock ticks since boot.

    Attributes:
        fields: Of that file, from the third one on; the 21st and all behind it in one.
    """

    __slots__ = ("fields", "name", "pid", "ppid", "session", "start_ticks", "state")

    def __init__(self, pid: int, stat: bytes) -> None:
        # The name stands in brackets and may itself hold spaces and brackets (proc(5)).
        head, _, tail = stat.rpartition(b")")
        fields = tail.split(None, 20)
        self.pid = pid
        self.name = head.partition(b"(")[2].decode("utf-8", "replace")
        self.state = fields[0].decode()
        self.ppid = int(fields[1])
        self.session = int(fields[3])
        self.start_ticks = int(fields[19])
        self.fields = fields

    @property
    def is_alive(self) -> bool:
        """Not a zombie, and not on its way out of the table."""
        return self.state not in "ZXx"


def boot_id() -> str:
    """Changes with each start of the host."""
    return read("/proc/sys/kernel/random/boot_id").decode().strip()


def row(pid: int) -> Row | None:
    """None if there is no such process."""
    try:
        stat = read(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Row(pid, stat) if stat else None


def table() -> dict[int, Row]:
    """All processes, zombies and kernel threads included; those that end meanwhile may be missing."""
    rows = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (found := row(int(name))) is not None:
            rows[found.pid] = found
    return rows


def kin(rows: Mapping[int, Row], seeds: Mapping[int, str], *, sessions: Iterable[int] = ()) -> dict[int, str]:
    """Close a set of processes over descent and over sessions that its members lead.

    Args:
        rows: Where to look; whatever must not be found is left out of it.
        seeds: Pid to the reason why it belongs.
        sessions: Sessions all of whose processes belong, besides those led by a member.

    Returns:
        Pid to reason; the seeds are included as far as they are in `rows`.
    """
    found = {pid: why for pid, why in seeds.items() if pid in rows}
    led = {*sessions, *(pid for pid in found if rows[pid].session == pid)}
    fresh = True
    while fresh:
        fresh = False
        for one in rows.values():
            if one.pid not in found and (one.ppid in found or one.session in led):
                found[one.pid] = "descendant" if one.ppid in found else "session"
                fresh = True
                if one.session == one.pid:
                    led.add(one.pid)
    return found


def ancestry(rows: Mapping[int, Row], pid: int) -> set[int]:
    """`pid` and all its ancestors."""
    line: set[int] = set()
    while pid in rows and pid not in line:
        line.add(pid)
        pid = rows[pid].ppid
    return line


def carries(pid: int, marker: Mapping[str, str]) -> bool:
    """Whether a process of this user has all variables of a marker; an empty marker marks nothing."""
    if not marker:
        return False
    try:
        if os.stat(f"/proc/{pid}").st_uid != os.geteuid():
            return False
        data = b"\0" + read(f"/proc/{pid}/environ")
    except OSError:
        return False
    return all(os.fsencode(f"\0{name}={value}\0") in data for name, value in marker.items())


def ignores(pid: int, number: int) -> bool:
    """Whether a process has asked the kernel to drop this signal; False when nobody can tell."""
    try:
        lines = read(f"/proc/{pid}/status").splitlines()
    except OSError:
        return False
    masks = [line.split()[1] for line in lines if line.startswith(b"SigIgn:")]
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


def read(path: str) -> bytes:
    """A whole file of /proc."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = b""
        while chunk := os.read(fd, 1 << 16):
            data += chunk
        return data
    finally:
        os.close(fd)
