"""How assistants call back: the command that reports a hook to the daemon."""

from __future__ import annotations

from pathlib import Path

import envmgr

# Known by its path: it is executed by itself, and nothing here may import a face.
_CLIENT = Path(envmgr.__file__).parent / "interfaces" / "hooks" / "client.py"


def hook_command(python: str, socket: Path, *, agent: str, generation: int, home: Path) -> list[str]:
    """Make the `Place.hook_command` of one generation of an agent; the hook's name is appended to it.

    Args:
        python: Interpreter; started without site packages and environment, for speed and safety.
        socket: The daemon's, absolute; may be longer than the system's limit for socket paths.
        agent: Its id, as in the daemon's paths.
        generation: Reports of another generation are refused.
        home: The agent's private folder, absolute.
    """
    return [python, "-I", "-S", str(_CLIENT), str(socket), agent, str(generation), str(home)]
