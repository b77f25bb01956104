"""One example of a body for operations that programs use much; shown in the OpenAPI document."""

from __future__ import annotations

EXAMPLES: dict[str, dict[str, object]] = {
    "memory.recall": {"query": "flaky login test", "limit": 5},
    "memory.remember": {
        "summary": "The login test needs the clock frozen",
        "event_type": "discovery",
        "tags": ["tests"],
        "files": ["tests/test_login.py"],
    },
}
