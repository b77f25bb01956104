"""What a task stood on when it last succeeded, as one short key: the same content gives the same key, anything else another."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping

from envmgr.model.service import ServiceSpec


def key(service: ServiceSpec, *, files: Mapping[str, str], env: Mapping[str, str], salt: bytes) -> str:
    """Of the task's own definition, the files it follows, and the variables it names.

    Values may be secret: only this salted digest of them is ever kept.

    Args:
        files: Path -> digest of the content.
        salt: Of this installation.
    """
    image = (service.container.image, repr(service.container.build)) if service.container else ()
    stands_on = [
        service.command,
        service.shell,
        service.cwd,
        image,
        sorted(files.items()),
        sorted(env.items()),
    ]
    return hmac.new(salt, json.dumps(stands_on).encode(), "sha256").hexdigest()
