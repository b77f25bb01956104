"""The ground of coordination services, for tests that need no daemon."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from envmgr.protocols.store import Store
from envmgr.services.ground import Ground


def ground(steady: Callable[[], float], store: Store | None = None) -> Ground:
    """With a clock of the test's own; what is published is heard by nobody. Without a store, for changes made by hand."""
    # A test that needs no store passes none, and an attempt to use it fails loudly.
    return Ground(store=cast(Store, store), now=steady, steady=steady, publish=lambda events: None)
