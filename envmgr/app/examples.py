"""One example of a body for operations that programs use much; shown in the OpenAPI document."""

from __future__ import annotations

EXAMPLES: dict[str, dict[str, object]] = {
    "lock.acquire": {"targets": ["src/login.py", "db:users"], "reason": "new login", "wait_s": 60},
    "lock.release": {"targets": ["src/login.py", "db:users"]},
    "task.submit": {
        "description": "Test the login with an expired password",
        "task_type": "test",
        "priority": 2,
        "depends_on": ["t-000122"],
        "claims": ["tests/test_login.py"],
        "idempotency_key": "login-tests-1",
    },
    "task.claim": {"task_types": ["test"], "capabilities": ["python"]},
    "task.complete": {"success": True, "result": {"passed": 12}, "files_changed": ["tests/test_login.py"]},
    "handoff.write": {
        "summary": "The login works; its tests are half done",
        "completed": ["login form"],
        "next_steps": ["test expired passwords"],
        "files": ["src/login.py"],
    },
    "session.register": {"capabilities": ["python", "review"], "current_task": "t-000123"},
    "memory.remember": {
        "summary": "The login test needs the clock frozen",
        "event_type": "discovery",
        "tags": ["tests"],
        "files": ["tests/test_login.py"],
    },
    "memory.recall": {"query": "flaky login test", "limit": 5},
    "key.create": {"name": "board", "scopes": "read,work", "expires": "30d"},
}
