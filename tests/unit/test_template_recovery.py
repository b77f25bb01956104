"""What a template may say about recovery, and what is meant when it says nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from envmgr.model.incident import Rung
from envmgr.model.recovery import RecoveryPolicy
from envmgr.model.service import Rate
from tests.support.requirements import proves
from tests.support.templates import WHOLE, Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@proves("RECOVER-018")
def test_without_a_word_the_usual_numbers_count(desk: Desk) -> None:
    assert desk.spec(WHOLE).recovery == RecoveryPolicy()


@proves("RECOVER-018")
def test_a_template_drops_rungs_and_sets_numbers(desk: Desk) -> None:
    said = "recovery: {rungs: [respawn, session], budgets: {session: 1/10m}, stabilize: 5s, delays: {respawn: 1m}}\n"

    policy = desk.spec(WHOLE + said).recovery

    assert policy.rungs == (Rung.SESSION, Rung.RESPAWN)
    assert policy.session.budget == Rate(count=1, window_s=600.0)
    assert (policy.stabilize_s, policy.respawn.delay_s, policy.session.delay_s) == (5.0, 60.0, 2.0)


@proves("RECOVER-018")
@pytest.mark.parametrize(
    ("said", "finding"),
    [("{rungs: [reboot]}", "recovery.rungs"), ("{budgets: {session: often}}", "recovery.budgets.session")],
)
def test_what_cannot_be_meant_is_refused_where_it_stands(desk: Desk, said: str, finding: str) -> None:
    (problem,) = desk.findings(f"{WHOLE}recovery: {said}\n")

    assert finding in problem
