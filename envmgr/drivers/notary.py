"""Signatures with an Ed25519 key of this installation, in a file that only its owner can read."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from envmgr.errors import Unavailable
from envmgr.services.audit.signatures import is_signed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

# cryptography is imported in functions: it takes longer than a daemon's first answer, and the first signature is made later.

_KEY = "signing.key"
_PUBLIC = "signing.pub"
_HEX = 64


class FileNotary:
    """`envmgr.protocols.audit.Notary` with its key in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key: Ed25519PrivateKey | None = None
        self._public = ""

    def open(self, *, may_make: bool) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        path = self._folder / _KEY
        if may_make and not path.exists():
            _make(path)
        try:
            self._key = Ed25519PrivateKey.from_private_bytes(_read(path))
        except (OSError, ValueError):
            self._key = None
            self._public = _public_file(self._folder / _PUBLIC)
            return
        self._public = self._key.public_key().public_bytes_raw().hex()
        _write_public(self._folder / _PUBLIC, self._public)

    def sign(self, data: bytes) -> str:
        if self._key is None:
            raise Unavailable(self.trouble(), hint="Put it back from a copy; see docs/how-to/audit.md.")
        return self._key.sign(data).hex()

    def is_signed(self, data: bytes, signature: str) -> bool:
        return is_signed(data, signature, self._public)

    def fingerprint(self) -> str:
        return sha256(bytes.fromhex(self._public)).hexdigest()[:16] if self._public else ""

    def public(self) -> str:
        return self._public

    def trouble(self) -> str:
        return "" if self._key is not None else f"there is no usable key in {self._folder.name}/{_KEY}"


def _make(path: Path) -> None:
    """Whole or not at all, and never readable for others."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    half = path.with_name(f"{path.name}.new")
    half.unlink(missing_ok=True)
    fd = os.open(half, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="ascii") as file:
        file.write(Ed25519PrivateKey.generate().private_bytes_raw().hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    half.rename(path)


def _read(path: Path) -> bytes:
    return bytes.fromhex(path.read_text(encoding="ascii").strip())


def _public_file(path: Path) -> str:
    try:
        found = path.read_text(encoding="ascii").strip()
        return found if len(bytes.fromhex(found)) * 2 == _HEX else ""
    except (OSError, ValueError):
        return ""


def _write_public(path: Path, public: str) -> None:
    if _public_file(path) != public:
        path.write_text(public + "\n", encoding="ascii")
