"""Where this installation keeps its things. Cheap to import: the command line needs it before anything else."""

import os

SOCKET = "daemon.sock"
LOCK = "daemon.lock"
STARTING = "daemon.starting"
LOG = "daemon.log"


def state_dir() -> str:
    """`ENVMGR_STATE_DIR`, else `envmgr` in the XDG state directory; absolute, need not exist."""
    if own := os.environ.get("ENVMGR_STATE_DIR"):
        return os.path.abspath(os.path.expanduser(own))
    base = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(base):  # relative ones are to be ignored (XDG Base Directory Specification)
        base = os.path.expanduser("~/.local/state")
    return os.path.join(base, "envmgr")
