"""Tasks as prompts: who may get them."""

from __future__ import annotations

from collections.abc import Iterator

from envmgr.config.problems import Problem
from envmgr.config.templates.places import Places
from envmgr.config.templates.schema import Document
from envmgr.core.shells import is_shell


def lint_queue(document: Document, places: Places) -> Iterator[Problem]:
    """About `queue`."""
    agent = document.agent
    if document.queue.mode == "auto" and agent.kind == "command" and is_shell(agent.command or ""):
        yield places.key(
            ("queue",),
            "queue: auto gives tasks as prompts, and this agent is a shell: it would run their text",
            "Use an assistant, or a program that takes tasks itself with `envmgr task claim`.",
        )
