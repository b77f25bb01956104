"""Prompts that a person can choose in an assistant: the three habits that coordination rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from envmgr.errors import NotFound, UsageError

_LONGEST = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One prompt.

    Attributes:
        arguments: Name and description of each.
        text: With `{name}` for each argument; a line whose argument is not given is left out.
    """

    name: str
    description: str
    arguments: Mapping[str, str]
    text: str
    required: frozenset[str] = field(default_factory=frozenset)


_ALL = (
    Prompt(
        name="coordinate_file_edit",
        description="Edit a file that other agents may edit, too",
        arguments={"file_path": "Path inside the repository", "task": "What is to be changed"},
        required=frozenset({"file_path"}),
        text="""Change {file_path} without getting in anybody's way.
What to do: {task}

1. Call `acquire_lock` with targets ["{file_path}"] and a reason.
2. If somebody else holds it, do not edit. The answer says who, and until when: work on something else, or call again with wait_s.
3. Edit, test, commit. A long edit keeps its lock by any call you make.
4. Call `release_lock`. If what you learned helps others, call `remember`.""",
    ),
    Prompt(
        name="start_work_session",
        description="Begin a session: who is here, what was left, what is to be done",
        arguments={"task": "What to work on; without it the queue is asked"},
        text="""Begin a work session.
What to work on: {task}

1. Call `register_session` with what you can do.
2. Call `read_handoff`: somebody may have left work half done.
3. Call `discover_agents` and `check_locks`: see who works on what.
4. Call `recall` with a few words about the work.
5. Unless you were told what to work on, call `get_work`, and later `complete_work` or `fail_work` with its lease token.
6. Take locks before you edit, and give them back after.""",
    ),
    Prompt(
        name="hand_over",
        description="End a session so that another agent can go on",
        arguments={"summary": "What was done, in a sentence"},
        text="""Hand over your work.
Summary: {summary}

1. Commit what is done. Say what is not committed.
2. Call `write_handoff` with summary, completed work, what is in progress, decisions, next steps and files.
3. Call `complete_work` or `fail_work` for tasks that you hold.
4. Call `release_lock` with all=true.
5. Call `remember` with what you learned that the code does not tell.""",
    ),
)
PROMPTS: Mapping[str, Prompt] = {prompt.name: prompt for prompt in _ALL}


def render(name: str, arguments: Mapping[str, str]) -> str:
    """The text of a prompt.

    Raises:
        NotFound: There is no such prompt.
        UsageError: An argument is missing, unknown or too long.
    """
    prompt = PROMPTS.get(name)
    if prompt is None:
        raise NotFound(f"no prompt is called {name[:100]!r}", hint=f"There are: {', '.join(PROMPTS)}.")
    hint = f"{name} takes: {', '.join(prompt.arguments)}."
    if missing := prompt.required - arguments.keys():
        raise UsageError(f"{', '.join(sorted(missing))} is missing", hint=hint)
    if unknown := arguments.keys() - prompt.arguments.keys():
        raise UsageError(f"{', '.join(sorted(unknown))} is unknown", hint=hint)
    if any(len(value) > _LONGEST for value in arguments.values()):
        raise UsageError(f"an argument is longer than {_LONGEST} characters", hint=hint)
    lines = prompt.text.splitlines()
    absent = [f"{{{name}}}" for name in prompt.arguments if not arguments.get(name)]
    kept = [line for line in lines if not any(word in line for word in absent)]
    return "\n".join(kept).format_map(arguments)
