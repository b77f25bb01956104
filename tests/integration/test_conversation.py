"""What an assistant was told and has not answered: kept until it is, and said again once when the assistant was lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from envmgr.assistants.claude_code import ClaudeCodeAssistant
from envmgr.assistants.command import CommandAssistant
from envmgr.errors import ConfigError, Conflict
from envmgr.model.agent import Activity
from envmgr.model.spec import AssistantSpec, SecretRef, SecretSource
from envmgr.protocols.workspaces import Worktree
from envmgr.runtime import conversation
from envmgr.runtime.conversation import Phase, Prompt
from envmgr.runtime.delivery import deliver
from envmgr.runtime.incarnation import Incarnation
from envmgr.runtime.recovery.respawn import begin_again
from envmgr.runtime.reports import Reports
from envmgr.runtime.steps.assistant import AwaitReadiness
from tests.support.incarnations import incarnation
from tests.support.requirements import proves
from tests.support.supervised import take_over

pytestmark = pytest.mark.anyio

CLAUDE = AssistantSpec(kind="claude_code")


@asynccontextmanager
async def claude(folder: Path) -> AsyncIterator[Incarnation]:
    async with incarnation(folder, assistant=CLAUDE, adapter=ClaudeCodeAssistant()) as inc:
        yield inc


async def hook(inc: Incarnation, name: str, **payload: object) -> None:
    await conversation.hear(inc, inc.assistant.understand(name, payload))


async def phase(inc: Incarnation) -> Phase | None:
    known = await conversation.pending(inc)
    return known.phase if known else None


@proves("TALK-001")
async def test_a_prompt_is_under_way_from_its_hook_to_the_end_of_the_turn(tmp_path: Path) -> None:
    async with claude(tmp_path) as inc:
        await hook(inc, "UserPromptSubmit", prompt="do $it")
        await hook(inc, "PreToolUse", tool_name="Bash")
        assert await conversation.pending(inc) == Prompt(text="do $$it", phase=Phase.UNDER_WAY)

        await hook(inc, "Stop")

        assert await conversation.pending(inc) is None


@proves("TALK-001")
async def test_what_envmgr_delivers_is_noted_before_and_is_not_replaced_by_the_hooks_shorter_word(
    tmp_path: Path,
) -> None:
    async with claude(tmp_path) as inc:
        await conversation.sending(inc, "the whole long text")
        assert await phase(inc) is Phase.SENDING

        await hook(inc, "UserPromptSubmit", prompt="the whole")

        assert await conversation.pending(inc) == Prompt(text="the whole long text", phase=Phase.UNDER_WAY)


@proves("TALK-001")
async def test_a_turn_that_was_shorter_than_the_delivery_stays_over(tmp_path: Path) -> None:
    async with claude(tmp_path) as inc:
        await conversation.sending(inc, "hello")
        await hook(inc, "UserPromptSubmit", prompt="hello")
        await hook(inc, "Stop")

        await conversation.taken(inc)

        assert await conversation.pending(inc) is None


@proves("TALK-002", "R-22")
async def test_a_cut_prompt_is_given_out_once_and_no_start_or_screen_ends_it_before(tmp_path: Path) -> None:
    async with claude(tmp_path) as inc:
        await hook(inc, "UserPromptSubmit", prompt="work")
        await conversation.cut(inc, "1")
        await hook(inc, "SessionStart", source="resume")
        await conversation.over(inc)

        assert [await conversation.resending(inc), await phase(inc)] == ["work", Phase.RESENDING]
        await hook(inc, "UserPromptSubmit", prompt="work")
        await conversation.taken(inc)

        assert await phase(inc) is Phase.UNDER_WAY
        assert await conversation.is_said_by(inc, "1")


@proves("TALK-003", "R-22")
async def test_a_measure_that_was_cut_off_says_again_what_was_surely_not_taken(tmp_path: Path) -> None:
    async with claude(tmp_path) as inc:
        await hook(inc, "UserPromptSubmit", prompt="work")
        await conversation.cut(inc, "1")
        assert await conversation.resending(inc) == "work"

        await conversation.cut(inc, "1")  # no hook came: the new assistant, which is ended now, never took it

        assert await conversation.resending(inc) == "work"


@proves("TALK-003", "R-22")
async def test_a_measure_that_was_cut_off_does_not_say_again_what_was_taken(tmp_path: Path) -> None:
    async with claude(tmp_path) as inc:
        await hook(inc, "UserPromptSubmit", prompt="work")
        await conversation.cut(inc, "1")
        await conversation.resending(inc)
        await hook(inc, "UserPromptSubmit", prompt="work")

        await conversation.cut(inc, "1")

        assert await phase(inc) is Phase.UNDER_WAY
        assert await conversation.is_said_by(inc, "1")


@proves("TALK-002")
async def test_the_next_measure_says_again_what_this_one_has_said(tmp_path: Path) -> None:
    async with claude(tmp_path) as inc:
        await hook(inc, "UserPromptSubmit", prompt="work")
        for measure in ("1", "2"):
            await conversation.cut(inc, measure)
            assert await conversation.resending(inc) == "work"
            await hook(inc, "UserPromptSubmit", prompt="work")


@proves("TALK-004")
async def test_values_of_secrets_are_kept_by_name_only(tmp_path: Path) -> None:
    def secrets(spec: object, environment: Mapping[str, str]) -> Mapping[str, str]:
        return {"TOKEN": "s3cret-value"}

    async with claude(tmp_path) as inc:
        inc.systems = replace(inc.systems, secrets=secrets)
        inc.spec = replace(inc.spec, secrets=(SecretRef(name="TOKEN", source=SecretSource.ENV, key="TOKEN"),))
        await conversation.sending(inc, "log in with s3cret-value")

        known = await conversation.pending(inc)
        assert known is not None
        assert known.text == "log in with ${secrets.TOKEN}"
        await conversation.cut(inc, "1")
        assert await conversation.resending(inc) == "log in with s3cret-value"


@proves("TALK-005")
async def test_the_conversation_is_the_agents_own_until_the_assistant_is_in_another_one(
    tmp_path: Path,
) -> None:
    async with claude(tmp_path) as inc:
        first = await conversation.current(inc)
        assert [len(first), await conversation.current(inc)] == [36, first]

        await hook(inc, "SessionStart", source="clear", session_id="another")

        assert await conversation.current(inc) == "another"


@proves("TALK-005")
async def test_without_resume_or_for_a_program_that_does_not_converse_there_is_none(tmp_path: Path) -> None:
    async with claude(tmp_path) as inc:
        inc.spec = replace(inc.spec, assistant=replace(CLAUDE, resume="never"))
        assert await conversation.current(inc) == ""


@proves("TALK-006")
async def test_of_a_program_that_tells_nothing_no_prompt_is_kept(tmp_path: Path) -> None:
    async with incarnation(tmp_path, adapter=CommandAssistant()) as inc:
        await conversation.sending(inc, "hello")

        assert await conversation.pending(inc) is None
        assert await conversation.current(inc) == ""


async def cut_and_claimed(inc: Incarnation) -> None:
    """A prompt that a measure is just about to say again."""
    await hook(inc, "UserPromptSubmit", prompt="work")
    await conversation.cut(inc, "1")
    assert await conversation.resending(inc) == "work"


@proves("TALK-007", "R-22")
async def test_what_could_not_even_be_typed_is_said_by_the_next_one(tmp_path: Path) -> None:
    async with claude(tmp_path) as inc:
        await cut_and_claimed(inc)

        with pytest.raises(Conflict, match="no terminal session"):
            await deliver(inc, "work", Reports())

        assert await conversation.resending(inc) == "work"


@proves("TALK-007", "R-26")
async def test_a_dialog_at_the_start_of_a_respawned_assistant_is_no_failure_and_loses_no_prompt(
    tmp_path: Path,
) -> None:
    async with claude(tmp_path) as inc:
        await hook(inc, "UserPromptSubmit", prompt="work")
        await conversation.cut(inc, "1")
        inc.prior = Worktree(path=tmp_path, branch="b", base="0" * 40)
        reports = Reports()
        reports.put(Activity.AWAITING_INPUT)

        receipt = await AwaitReadiness(inc, reports).do()

        assert receipt == {"activity": "awaiting_input"}
        assert await conversation.resending(inc) == "work"


@proves("TALK-007")
async def test_a_prompt_whose_secret_is_missing_stays_cut(tmp_path: Path) -> None:
    def missing(spec: object, environment: Mapping[str, str]) -> Mapping[str, str]:
        raise ConfigError("secret TOKEN is not set")

    async with claude(tmp_path) as inc:
        await hook(inc, "UserPromptSubmit", prompt="work")
        await conversation.cut(inc, "1")
        inc.spec = replace(inc.spec, secrets=(SecretRef(name="TOKEN", source=SecretSource.ENV, key="TOKEN"),))
        known, inc.systems = inc.systems, replace(inc.systems, secrets=missing)

        with pytest.raises(ConfigError):
            await conversation.resending(inc)

        inc.systems = replace(known, secrets=lambda *_: {"TOKEN": "s3cret-value"})
        assert await conversation.resending(inc) == "work"


@proves("TALK-007")
async def test_a_respawn_that_is_begun_once_more_says_again_what_its_first_assistant_was_told(
    tmp_path: Path,
) -> None:
    async with claude(tmp_path) as inc:
        await cut_and_claimed(inc)
        await hook(inc, "UserPromptSubmit", prompt="work")
        _, actor = await take_over(inc)
        actor.incarnation = inc

        await begin_again(actor, inc)

        assert await conversation.resending(inc) == "work"
