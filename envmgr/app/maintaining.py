"""The operation that does now what the daemon does now and then."""

from __future__ import annotations

from pydantic import Field

from envmgr.app import text
from envmgr.app.context import App
from envmgr.app.operations import Touch, operation
from envmgr.app.shapes import Ask, View, argument, option
from envmgr.errors import Unavailable


class Maintain(Ask):
    """What to do."""

    tasks: list[str] = argument("Names of tasks; all when left out", default=[])
    dry_run: bool = option("Only tell what would go", default=False)


class TaskView(View):
    """What one task came to."""

    task: str
    says: str = Field(description="What it does, for people")
    count: int = Field(description="Events, incidents, files, numbers of ports or pages, as the task has it")
    bytes: int = Field(description="Given back to the disk, as far as that is counted")
    detail: str = ""
    error: str = ""


class MaintainView(View):
    """What was done."""

    tasks: list[TaskView]
    dry_run: bool = False


def _text(result: MaintainView, style: text.Style) -> str:
    rows = [
        [one.task, one.error or str(one.count), text.size(one.bytes) if one.bytes else "-", " ".join(filter(None, (one.says, one.detail)))]
        for one in result.tasks
    ]  # fmt: skip
    head = ["TASK", "WOULD DO" if result.dry_run else "DONE", "FREED", "WHAT"]
    return text.table(head, rows, style, ["red" if one.error else "" for one in result.tasks])


@operation(
    "maintain",
    route="POST /api/v1/maintain",
    gives=MaintainView,
    text=_text,
    touch=Touch.WRITE,
    command="maintain",
    status=lambda result: Unavailable.exit if any(one.error for one in result.tasks) else 0,
)
async def maintain(ask: Maintain, app: App) -> MaintainView:
    """Rotate logs, forget what is old, and give space back, as the daemon does each hour.

    Tasks: events, incidents, copies (of volumes, before removals and restores), logs, temp (half-written files), series
    (measurements), ports (of agents that have been stopped for long), archive (of sessions), audit (old rows go into files), keys (that are
    good no longer), vacuum (of the database).
    """
    reports = [report async for report in app.upkeep.work(ask.tasks, is_dry=ask.dry_run)]
    views = [
        TaskView(
            task=one.task,
            says=one.says,
            count=one.done.count,
            bytes=one.done.bytes,
            detail=one.done.detail,
            error=one.error,
        )
        for one in reports
    ]
    return MaintainView(tasks=views, dry_run=ask.dry_run)
