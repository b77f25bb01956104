"""What people read, compared as whole pages."""

from __future__ import annotations

import re
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmgr.app import text, views
from envmgr.app.text import Style
from envmgr.core.counting import counted
from envmgr.runtime.outcomes import with_name
from tests.support.requirements import proves

NOW = 100_000.0
PLAIN = Style(width=200, now=lambda: NOW)
COLOUR = Style(width=200, colour=True, now=lambda: NOW)

WEB = views.ServiceView(
    name="web", kind="process", state="ready", ports={"http": 20000}, urls=["http://127.0.0.1:20000/"]
)
DB = views.ServiceView(
    name="db", kind="process", state="failed", detail="exited with 1", ports={"main": 20001}
)
SEED = views.ServiceView(name="seed", kind="task", state="done", detail="exited with 0")


def agent(name: str, **more: object) -> views.AgentView:
    plain = {
        "id": "0tter000",
        "name": name,
        "lifecycle": "running",
        "activity": "working",
        "activity_source": "hook",
        "generation": 1,
        "reason": "all steps done",
        "since": NOW - 7200,
        "activity_since": NOW - 65,
        "template": "web",
        "assistant": "claude_code",
        "repo": "/home/me/shop",
        "branch": f"agent/{name}",
        "worktree": f"/state/worktrees/shop/{name}",
    }
    return views.AgentView.model_validate(plain | more)


OTTER = agent("otter", services=[WEB, SEED])
WAITS = agent("badger", activity="awaiting_input", activity_since=NOW - 5, activity_source="screen")
FAILED = agent(
    "ferret",
    lifecycle="error",
    activity=None,
    since=NOW - 90_000,
    reason="step services failed: db exited with 1; nothing was left behind",
)
SICK = agent(
    "marten",
    activity="ready",
    services=[WEB, DB],
    conditions=[
        views.ConditionView(type="ServiceDown", subject="db", reason="exited with 1", since=NOW - 60),
        views.ConditionView(type="Unobservable", reason="tmux does not answer", since=NOW - 2),
    ],
)
STOPPED = agent("stoat", lifecycle="stopped", activity=None, since=NOW - 4 * 86400)


def page(words: str) -> str:
    return textwrap.dedent(words).lstrip("\n")


@proves("TEXT-001")
def test_ls_is_a_table_with_who_needs_a_person_first() -> None:
    shown = text.agents(views.AgentList(agents=[OTTER, FAILED, SICK, STOPPED, WAITS]), PLAIN)

    assert shown == page("""
        NAME    STATE      ACTIVITY      FOR  SERVICES  PORTS        BRANCH        NOTE
        badger  ● RUNNING  ◆ NEEDS YOU?  5s   -         -            agent/badger
        ferret  ✖ ERROR    -             1d   -         -            agent/ferret  step services failed: db exited with 1; nothing was left behind
        otter   ● RUNNING  ▶ WORKING     1m   2/2       20000        agent/otter
        marten  ● RUNNING  · READY       1m   1/2       20000,20001  agent/marten  ServiceDown db: exited with 1
        stoat   ○ STOPPED  -             4d   -         -            agent/stoat
    """)


@proves("TEXT-001")
def test_ls_tells_the_repository_when_there_are_several() -> None:
    here, there, same = (
        agent(n, repo=r) for n, r in (("a", "/me/shop"), ("b", "/me/till"), ("c", "/old/till"))
    )

    one = text.agents(views.AgentList(agents=[here]), PLAIN).splitlines()
    all_ = text.agents(views.AgentList(agents=[here, there, same]), PLAIN).splitlines()

    assert "REPO" not in one[0]
    assert all_[0].split()[-3:] == ["REPO", "BRANCH", "NOTE"]
    assert [line.split()[-2:] for line in all_[1:]] == [
        ["shop", "agent/a"], ["me/till", "agent/b"], ["old/till", "agent/c"]
    ]  # fmt: skip


@proves("TEXT-001")
def test_ls_cuts_long_notes_also_where_lines_have_no_end() -> None:
    shown = text.agents(
        views.AgentList(agents=[agent("a", lifecycle="error", reason="because " * 40)]), PLAIN
    )

    note = shown.splitlines()[1].split("agent/a  ")[1]
    assert note.endswith("because…")
    assert len(note) <= 80


@proves("TEXT-001")
def test_ls_without_agents_says_how_to_get_one() -> None:
    assert text.agents(views.AgentList(agents=[]), PLAIN) == (
        "No agents. Spawn one: envmgr spawn --template web\n"
    )


@proves("TEXT-001")
def test_show_tells_state_reason_place_services_and_remarks() -> None:
    assert text.agent_details(SICK, PLAIN) == page("""
        marten  ● RUNNING  · READY
          because    all steps done (2h00 ago)
          template   web, assistant claude_code, generation 1, id 0tter000
          worktree   /state/worktrees/shop/marten
          branch     agent/marten
          repository /home/me/shop
          ! ServiceDown db: exited with 1
          ! Unobservable: tmux does not answer
          ● web        ready  http://127.0.0.1:20000/
          ○ db         failed (exited with 1)  main=20001
    """)


@proves("TEXT-001")
def test_why_tells_evidence_with_its_age_steps_decisions_and_what_comes_next() -> None:
    shown = text.why(
        views.WhyView(
            agent=agent("otter"),
            evidence=views.EvidenceView(source="hook", detail="UserPromptSubmit", age_s=65.4),
            steps=[
                views.StepView(step="worktree", state="undone"),
                views.StepView(step="session", state="leaked", error="tmux hangs"),
            ],
            decisions=[
                views.EventView(
                    seq=7, at=NOW - 3700, kind="agent.running", data={"reason": "all steps done", "empty": ""}
                )
            ],
            next="it works; watch with `envmgr attach otter`.",
        ),
        PLAIN,
    )

    assert shown == page("""
        otter  ● RUNNING  ▶ WORKING
          because    all steps done (2h00 ago)
          template   web, assistant claude_code, generation 1, id 0tter000
          worktree   /state/worktrees/shop/otter
          branch     agent/otter
          repository /home/me/shop
          evidence   hook: UserPromptSubmit, 65 s old
          steps      worktree undone, session leaked
                     session: tmux hangs
           1h01 ago  agent.running reason=all steps done
          next       it works; watch with `envmgr attach otter`.
    """)


@proves("TEXT-001")
def test_doctor_marks_findings_and_gives_a_fix_for_each() -> None:
    shown = text.checks(
        views.DoctorView(
            ok=False,
            checks=[
                views.CheckView(check="git", ok=True, found="git version 2.43.0", fix="Install git"),
                views.CheckView(
                    check="tmux", ok=False, found="not found (needs 3.2 or newer)", fix="apt-get install tmux"
                ),
            ],
        ),
        PLAIN,
    )

    assert shown == page("""
        ok  git            git version 2.43.0
        FIX tmux           not found (needs 3.2 or newer)
                           -> apt-get install tmux
    """)


@proves("TEXT-001")
def test_a_plan_tells_what_would_be_done() -> None:
    shown = text.plan(
        views.PlanView(
            name="web-1",
            template="web",
            source="built-in",
            repo="/home/me/shop",
            branch="agent/web-1",
            base="HEAD",
            worktree="/state/worktrees/shop/web-1",
            steps=["ports", "assistant"],
            services=["api (process) after db ready"],
            images=["redis:7 (never pulled)"],
            volumes=["data: the agent's own, for cache"],
            ports={"api.http": "one of a block of 20"},
            command="claude",
        ),
        PLAIN,
    )

    assert shown == page("""
        would spawn web-1 from template web (built-in)
          worktree /state/worktrees/shop/web-1
          branch   agent/web-1 from HEAD
          step     ports
          step     assistant
          service  api (process) after db ready
          image    redis:7 (never pulled)
          volume   data: the agent's own, for cache
          port     api.http: one of a block of 20
          runs     claude
    """)


@proves("TEXT-001")
@pytest.mark.parametrize(
    ("item", "line"),
    [
        (
            views.SpawnItem(kind="step", name="otter", step="worktree", state="started"),
            "otter: worktree started\n",
        ),
        (
            views.SpawnItem(kind="service", name="otter", step="api", state="failed", detail="exited with 1"),
            "otter: api failed: exited with 1\n",
        ),
        (views.SpawnItem(kind="accepted", name="otter"), ""),
    ],
)
def test_progress_is_a_line_for_each_step(item: views.SpawnItem, line: str) -> None:
    assert text.spawn_item(item, PLAIN) == line


# --- ages, width, colours ----------------------------------------------------------------------------------------


@proves("TEXT-002")
@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0s"),
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (3599, "59m"),
        (3600, "1h00"),
        (3720, "1h02"),
        (86399, "23h59"),
        (86400, "1d"),
        (864000, "10d"),
    ],
)
def test_ages_are_short(seconds: float, words: str) -> None:
    assert PLAIN.age(NOW - seconds) == words


@proves("TEXT-002")
@given(st.integers(20, 120))
def test_no_line_of_a_table_is_wider_than_the_terminal(width: int) -> None:
    agents = views.AgentList(agents=[OTTER, FAILED, SICK])

    shown = text.agents(agents, Style(width=width, now=lambda: NOW))

    assert max(len(line) for line in shown.splitlines()) <= width


@proves("TEXT-002")
def test_a_line_that_is_cut_says_so() -> None:
    shown = text.agents(views.AgentList(agents=[FAILED]), Style(width=60, now=lambda: NOW))

    assert shown.splitlines()[1].endswith("…")
    assert len(shown.splitlines()[1]) == 60


ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


@proves("TEXT-003")
@pytest.mark.parametrize(
    "render",
    [
        lambda style: text.agents(views.AgentList(agents=[OTTER, FAILED, SICK, STOPPED, WAITS]), style),
        lambda style: text.agent_details(SICK, style),
        lambda style: text.agent_line(FAILED, style),
        lambda style: text.checks(
            views.DoctorView(ok=True, checks=[views.CheckView(check="git", ok=True, found="2.43")]), style
        ),
    ],
    ids=["ls", "show", "line", "doctor"],
)
def test_colours_only_add_to_the_words_and_only_when_asked_for(render: object) -> None:
    assert callable(render)

    plain, coloured = render(PLAIN), render(COLOUR)

    assert "\x1b" not in plain
    assert ESCAPE.sub("", coloured) == plain
    assert coloured != plain


# --- hostile text ------------------------------------------------------------------------------------------------

HOSTILE = "\x1b[2J\x1b]0;owned\x07red\x9b31m\r\x08\x00[bold]"
TAMED = "[2J]0;ownedred31m[bold]"


@proves("TEXT-004")
def test_control_characters_never_reach_the_terminal() -> None:
    assert text.clean(HOSTILE) == TAMED
    assert text.clean("tabs\tand\nlines stay") == "tabs\tand\nlines stay"


@proves("TEXT-004")
@given(st.text(alphabet=st.characters(max_codepoint=0x2FF), max_size=30))
def test_whatever_an_agent_or_a_template_says_pages_hold_no_control_character(words: str) -> None:
    odd = agent(
        "otter",
        reason=words,
        conditions=[views.ConditionView(type="Leaked", reason=words, since=NOW)],
        services=[WEB.model_copy(update={"detail": words})],
    )
    event = views.EventView(seq=1, at=NOW, kind="notice", data={"text": words})
    pages = [
        text.agents(views.AgentList(agents=[odd]), PLAIN),
        text.agent_details(odd, PLAIN),
        text.agent_line(odd, PLAIN),
        text.event(event, PLAIN),
        text.why(
            views.WhyView(
                agent=odd,
                evidence=views.EvidenceView(source="screen", detail=words, age_s=1),
                steps=[views.StepView(step="session", state="leaked", error=words)],
                decisions=[event],
                next="nothing",
            ),
            PLAIN,
        ),
        text.plan(
            views.PlanView(
                name="x", template=words, source=words, repo="/", branch=words, base=words, worktree="/",
                steps=[], services=[words], ports={words: "1"}, command=words,
            ),
            PLAIN,
        ),
        text.spawn_item(
            views.SpawnItem(kind="step", name="otter", step="x", state="failed", detail=words), PLAIN
        ),
        text.checks(
            views.DoctorView(ok=False, checks=[views.CheckView(check="x", ok=False, found=words)]), PLAIN
        ),
    ]  # fmt: skip

    odd_characters = {
        c for each in pages for c in each if c not in "\n\t" and (c < " " or "\x7f" <= c <= "\x9f")
    }

    assert odd_characters == set()


@proves("TEXT-004")
@given(st.text(max_size=40))
def test_an_event_is_one_line_and_an_agent_one_row(words: str) -> None:
    event = views.EventView(seq=1, at=NOW, kind="notice", data={"text": f"a\n{words}\nb"})
    odd = agent("otter", conditions=[views.ConditionView(type="Leaked", reason=f"a\n{words}", since=NOW)])

    assert text.event(event, PLAIN).count("\n") == 1
    assert text.agents(views.AgentList(agents=[odd]), PLAIN).count("\n") == 2


@proves("TEXT-001")
@pytest.mark.parametrize(("number", "said"), [(0, "0 files"), (1, "1 file"), (2, "2 files")])
def test_numbers_have_the_noun_that_fits(number: int, said: str) -> None:
    assert counted(number, "file") == said


@proves("TEXT-001")
@pytest.mark.parametrize(
    ("failure", "said"),
    [("cache ended before it was ready", "cache ended before it was ready"), ("no room", "cache: no room")],
)
def test_a_failure_says_once_whose_it_is(failure: str, said: str) -> None:
    assert with_name("cache", failure) == said
