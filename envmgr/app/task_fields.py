"""What the operations on tasks take. Every text has an end, so that nobody fills the store or a reader's context."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from envmgr.app.shapes import Ask, argument, option, supplied

_RESULT_BYTES = 64 * 1024
_INPUT_BYTES = 256 * 1024
_DEPTH = 64
Form = Literal["tree", "dot"]
StatusWord = Literal[
    "blocked", "scheduled", "ready", "claimed", "running", "verifying", "paused", "done", "failed", "cancelled", "dead"
]  # fmt: skip
DependentsWord = Literal["block", "cancel", "continue"]


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("a NUL byte cannot be part of it")
    return text


def _json(value: object) -> object:
    """The command line gives JSON as text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else {}
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None


def _at_most(most_bytes: int) -> AfterValidator:
    def check(value: Any) -> Any:  # Any: JSON
        if _is_deep(value):
            raise ValueError(f"it is nested more than {_DEPTH} levels deep")
        # Neither lone surrogates nor NaN are JSON; both are told as errors of the value.
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        if len(text.encode()) > most_bytes:
            raise ValueError(f"it is longer than {most_bytes} bytes as JSON")
        if "\\u0000" in text:
            raise ValueError("a NUL byte cannot be part of it")
        return value

    return AfterValidator(check)


def _is_deep(value: Any) -> bool:  # Any: JSON
    left = [value]
    for _ in range(_DEPTH):
        left = [
            inner
            for outer in left
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(left)


Word = Annotated[str, Field(max_length=200), AfterValidator(_no_nul)]
Line = Annotated[str, Field(max_length=4_000), AfterValidator(_no_nul)]
Long = Annotated[str, Field(max_length=64 * 1024), AfterValidator(_no_nul)]
TypeWord = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$")]
TaskName = Annotated[str, Field(max_length=32), AfterValidator(_no_nul)]
Target = Annotated[str, Field(max_length=1_024), AfterValidator(_no_nul)]
# Any: JSON of whoever submits, or reports.
Input = Annotated[dict[str, Any], BeforeValidator(_json), _at_most(_INPUT_BYTES)]
Result = Annotated[dict[str, Any], BeforeValidator(_json), _at_most(_RESULT_BYTES)]


class Limits(BaseModel):
    """Of one attempt: in a budget the most, in a report what was used; 0 is no limit."""

    model_config = ConfigDict(extra="forbid")

    tokens: int = Field(default=0, ge=0, le=10**12)
    cost: float = Field(default=0.0, ge=0, le=1e9, description="Money, in the currency of the budget")
    wall_s: float = Field(default=0.0, ge=0, le=31_536_000)
    tool_calls: int = Field(default=0, ge=0, le=10**9)
    file_changes: int = Field(default=0, ge=0, le=10**9)


Budget = Annotated[Limits, BeforeValidator(_json)]
_DEPENDS = "Tasks that must be done first: ids, or in a batch the keys of other tasks"


class TaskFields(Ask):
    """A task, as it is submitted."""

    description: Long = argument(
        "What is to be done", min_length=1, validation_alias=AliasChoices("description", "task_description")
    )
    task_type: TypeWord = option(
        "What kind of work it is, such as fix, test or review",
        short="-t",
        default="task",
        validation_alias=AliasChoices("task_type", "type"),
    )
    input_data: Input = option(
        "What its doer needs to know, as a JSON object; up to 256 KiB",
        default={},
        validation_alias=AliasChoices("input_data", "input"),
    )
    priority: int = option("1 (most urgent) to 10", short="-p", default=5, ge=1, le=10)
    depends_on: list[Word] = option(_DEPENDS, short="-d", default=[], max_length=1_000)
    claims: list[Target] = option(
        "Paths and keys that are locked for its doer, as in `lock acquire`",
        default=[],
        max_length=100,
        validation_alias=AliasChoices("claims", "locks"),
    )
    capabilities: list[Word] = option("What its doer must be able to", default=[], max_length=50)
    deadline: Word = option("Fails when nobody has begun by then: RFC 3339, or 2h from now", default="")
    run_at: Word = option("Not before: RFC 3339, or 30m from now", default="")
    max_attempts: int = option("Attempts before it is given up", default=3, ge=1, le=100)
    dependents: DependentsWord = option(
        "What its failure means for tasks that wait for it: block, cancel or continue", default="block"
    )
    budget: Budget = option(
        "What one attempt may use, as JSON: tokens, cost, wall_s, tool_calls, file_changes", default=Limits()
    )
    parent: Word = option("Task it is a part of", default="")
    discovered_from: Word = option("Task during which it was found", default="")
    related: list[Word] = option("Other tasks it has to do with", default=[], max_length=100)


class AskSubmit(TaskFields):
    """A task, and where it belongs."""

    idempotency_key: Word = option("The same key submits once, and is answered the same", default="")
    repo: str = supplied("Folder inside the repository", "cwd", default="")


class BatchTask(TaskFields):
    """A task of a batch."""

    key: Word = Field(
        default="",
        description="Name by which other tasks of the batch depend on it",
        validation_alias=AliasChoices("key", "ref", "id"),
    )


class AskBatch(Ask):
    """Tasks that are taken in together."""

    tasks: list[BatchTask] = Field(
        description="They may depend on each other by `key`", min_length=1, max_length=10_000
    )
    idempotency_key: Word = Field(
        default="", description="The same key submits once, and is answered the same"
    )
    repo: str = supplied("Folder inside the repository", "cwd", default="")


class AskClaim(Ask):
    """What kind of task is wanted."""

    task_types: list[TypeWord] = option("Only these types", short="-t", default=[], max_length=100)
    capabilities: list[Word] = option("What you are able to", default=[], max_length=200)
    agent_id: Word = Field(default="", description="Ignored: your key says who you are")
    agent_type: Word = Field(default="", description="Ignored")
    repo: str = supplied("Folder inside the repository", "cwd", default="")


class AskTask(Ask):
    """One task."""

    task_id: TaskName = argument("Such as t-000123")
    repo: str = supplied("Folder inside the repository", "cwd", default="")


class AskWhy(AskTask):
    """One task, and who would do it."""

    capabilities: list[Word] = option("What you are able to", default=[], max_length=200)


class AskReport(AskTask):
    """One task, by whoever has it."""

    lease_token: int = option(
        "As the claim answered it; without it, the task must be yours in this very session", default=0, ge=0
    )
    usage: Budget = option("What this attempt used so far, as JSON", default=Limits())


class AskHeartbeat(AskReport):
    """Still at it."""

    status: Literal["running", "verifying"] = option(
        "verifying: the work is done and is being checked", default="running"
    )


class AskFail(AskReport):
    """The attempt failed."""

    error_code: Word = option("A word for programs", default="")
    error_message: Line = option("What went wrong", short="-m", default="")
    result: Result = option("What there is nevertheless, as JSON; up to 64 KiB", default={})
    retry: bool = option("Let another attempt be made", default=True)


class AskComplete(AskReport):
    """The task is over."""

    success: bool = option("False (--no-success): it cannot be done, by anybody", default=True)
    result: Result = option("What came of it, as JSON; up to 64 KiB", default={})
    error_code: Word = option("A word for programs; cancelled_by_orchestrator calls the task off", default="")
    error_message: Line = option("What went wrong", short="-m", default="")
    files_changed: list[Target] = option("Files that were changed", default=[], max_length=1_000)
    agent_id: Word = Field(default="", description="Ignored: your key says who you are")


class AskCancel(AskTask):
    """A task that is not wanted any more."""

    reason: Line = option("Why", short="-m", default="no longer wanted")
    dependents: DependentsWord = option("What happens to tasks that wait for it", default="cancel")


class AskRetry(AskTask):
    """A task that is to be tried again."""

    with_dependents: bool = option("And those that were cancelled because of it", default=False)


class AskTasks(Ask):
    """Which tasks."""

    status: list[StatusWord] = option("Only these", short="-s", default=[])
    open: bool = option("Only those that are not over", default=False)
    task_type: TypeWord | Literal[""] = option("Only this type", short="-t", default="")
    mine: bool = option("Only those you have or had last", default=False)
    limit: int = option("At most so many", default=50, ge=1, le=1_000)
    cursor: TaskName = option("Go on after this task: `next` of the page before", default="")
    repo: str = supplied("Folder inside the repository", "cwd", default="")


class AskGraph(Ask):
    """Which part of the graph."""

    task_id: TaskName = argument(
        "Only what this task is tied to; all unfinished tasks when left out", default=""
    )
    form: Form = option("tree or dot", default="tree")
    limit: int = option("At most so many tasks", default=200, ge=1, le=2_000)
    repo: str = supplied("Folder inside the repository", "cwd", default="")
