"""The operation that explains the others."""

from __future__ import annotations

from difflib import get_close_matches

from pydantic import Field

from envmgr.app import text
from envmgr.app.context import App
from envmgr.app.operations import OPERATIONS, Operation, operation
from envmgr.app.shapes import Ask, View, argument
from envmgr.app.topics import TOPICS
from envmgr.errors import NotFound


class AskHelp(Ask):
    """About what."""

    topic: str = argument(
        "A topic, or the name of a tool, an operation or a command", default="", max_length=100
    )


class TopicView(View):
    """A topic, or that there is one."""

    name: str
    summary: str
    text: str = Field(default="", description="Empty in the list of topics")


class HelpView(View):
    """What there is to know."""

    topics: list[TopicView]


def _text(result: HelpView, style: text.Style) -> str:
    if len(result.topics) == 1:
        (topic,) = result.topics
        return f"{style.paint(topic.name, 'bold')}: {topic.summary}\n\n{topic.text}\n"
    rows = [[topic.name, topic.summary] for topic in result.topics]
    return text.table(["TOPIC", "WHAT"], rows, style) + "\n`envmgr help TOPIC` tells more.\n"


@operation(
    "help",
    route="GET /api/v1/help",
    gives=HelpView,
    text=_text,
    command="help",
    is_local=True,
    is_compact=True,
    is_open=True,
)
async def explain(ask: AskHelp, app: App) -> HelpView:
    """Explain how agents coordinate: all topics in a line each, or one topic, tool or operation in full."""
    if not ask.topic:
        return HelpView(topics=[TopicView(name=name, summary=said) for name, (said, _) in TOPICS.items()])
    if found := TOPICS.get(ask.topic):
        return HelpView(topics=[TopicView(name=ask.topic, summary=found[0], text=found[1])])
    names = {
        name: op for op in OPERATIONS.values() for name in (op.name, op.tool, " ".join(op.command)) if name
    }
    if op := names.get(ask.topic):
        return HelpView(topics=[_of(op)])
    near = get_close_matches(ask.topic, [*TOPICS, *names], n=3)
    raise NotFound(
        f"there is no help about {ask.topic!r}",
        hint=f"Did you mean {', '.join(near)}?" if near else f"Topics: {', '.join(TOPICS)}.",
    )


def _of(op: Operation) -> TopicView:
    fields = [f"  {name}: {field.description or ''}" for name, field in op.takes.model_fields.items()]
    ways = [f"MCP tool `{op.tool}`", *([f"`envmgr {' '.join(op.command)}`"] if op.command else [])]
    rest = op.doc.partition("\n")[2].strip()
    parts = [rest, "\n".join(["Takes:", *fields]) if fields else "", f"Also: {', '.join(ways)}."]
    return TopicView(name=op.name, summary=op.summary, text="\n\n".join(part for part in parts if part))
