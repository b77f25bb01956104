"""Check a signature, with nothing but the public key."""

from __future__ import annotations


def is_signed(data: bytes, signature: str, public: str) -> bool:
    """Whether the owner of the public key has signed the data with Ed25519; key and signature are in hexadecimal."""
    # Most calls need no signature, and this costs more than a whole command line.
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), data)
    except (InvalidSignature, ValueError):
        return False
    return True
