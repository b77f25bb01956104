"""Tell whether a daemon runs the code of this command: an upgrade, or an edit, does not reach one that runs."""

from __future__ import annotations

import hashlib
from pathlib import Path


def fingerprint() -> str:
    """Of the package's files, by path, size and time. Blocking, some milliseconds."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(Path(__file__).resolve().parents[1].rglob("*.py")):
        seen = path.stat()
        digest.update(f"{path} {seen.st_size} {seen.st_mtime_ns}".encode())
    return digest.hexdigest()
