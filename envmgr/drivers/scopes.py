"""Find out whether processes can be started in control groups of their own, by really doing it (docs/adr/0027)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from envmgr.protocols.scopes import Scopes

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
_NEEDED = ("memory", "cpu", "pids")
_TRIAL_S = 3.0
_TRIAL = ("-p", "MemoryMax=67108864", "-p", "CPUQuota=50%", "-p", "TasksMax=64")
# What the kernel then says; a property that is not delegated to the user is taken and does nothing.
_PROOF = {"memory.max": "67108864", "cpu.max": "50000 100000", "pids.max": "64"}
_READ = 'cd "$0$(sed -n s/^0:://p "$1")" && head -n 1 memory.max cpu.max pids.max'
_BUS = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")


def detect(
    environ: Mapping[str, str] | None = None,
    *,
    cgroups: Path = CGROUPS,
    own: Path = OWN,
    is_root: bool | None = None,
) -> Scopes:
    """Try it once, with limits that can be read back. Blocks, at most 3 s.

    Args:
        environ: Where PATH and the way to the user's manager are.
        cgroups, own: Where control groups are mounted, and the file that names one's own.
    """
    environ = os.environ if environ is None else environ
    if not (cgroups / "cgroup.controllers").is_file():
        return Scopes(why_not="cgroup v1 (limits need v2)")
    known = (cgroups / "cgroup.controllers").read_text().split()
    if missing := [name for name in _NEEDED if name not in known]:
        return Scopes(why_not=f"cgroup v2 without {', '.join(missing)}")
    program, env = (shutil.which(name, path=environ.get("PATH")) for name in ("systemd-run", "env"))
    if program is None or env is None:
        return Scopes(why_not="no systemd-run on PATH")
    is_root = os.geteuid() == 0 if is_root is None else is_root
    user = () if is_root else ("--user",)
    scopes = Scopes(
        argv=(program, *user, "--scope", "--quiet", "--collect"),
        env={} if is_root else {name: environ[name] for name in _BUS if name in environ},
        why_not="",
    )
    why_not = _try(scopes, environ, cgroups, own)
    return Scopes(why_not=why_not) if why_not else scopes


def _try(scopes: Scopes, environ: Mapping[str, str], cgroups: Path, own: Path) -> str:
    """Why it does not work; empty when it does."""
    argv = [*scopes.argv, *_TRIAL, "--", "sh", "-c", _READ, str(cgroups), str(own)]
    try:
        done = subprocess.run(
            argv, env=dict(environ), capture_output=True, text=True, timeout=_TRIAL_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"systemd-run did not answer within {_TRIAL_S:g} s"
    except OSError as error:
        return f"systemd-run cannot be executed: {error.strerror}"
    if done.returncode:
        words = done.stderr.strip().splitlines()
        return f"systemd-run fails: {words[-1] if words else f'status {done.returncode}'}"
    said = dict(part.split(" <==\n", 1) for part in done.stdout.split("==> ")[1:])
    wrong = [name for name, value in _PROOF.items() if said.get(name, "").strip() != value]
    return f"systemd-run sets no {', '.join(wrong)}; is the controller delegated?" if wrong else ""
