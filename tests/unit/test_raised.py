from __future__ import annotations

from dataclasses import replace

from envmgr.core import raised
from envmgr.model.service import ProcessLimits, ServiceKind, ServiceSpec
from envmgr.model.spec import AgentSpec, Asked
from tests.support.requirements import proves

SMALL = ProcessLimits(memory_bytes=100, cpus=2.0, nofile=10, pids=7)
WEB = ServiceSpec(name="web", kind=ServiceKind.PROCESS, limits=SMALL)


def spec(limits: ProcessLimits = SMALL) -> AgentSpec:
    web = replace(WEB, limits=limits)
    return AgentSpec(
        template="t", source="t", repo="/r", name="a", services=(web,), asked=Asked(template="t")
    )


@proves("REALLOC-004")
def test_a_step_is_half_as_much_again_of_what_was_hit() -> None:
    assert raised.step(SMALL, memory=True) == replace(SMALL, memory_bytes=150)
    assert raised.step(SMALL, memory=False) == replace(SMALL, nofile=15, pids=10)
    assert raised.step(ProcessLimits(), memory=True) == ProcessLimits()


@proves("REALLOC-004")
def test_raised_limits_outlast_a_look_at_the_template_that_says_what_it_said() -> None:
    more = replace(SMALL, memory_bytes=150)
    known = raised.remember(spec(), "web", more)
    assert raised.has(known, "web")

    again = raised.restore(replace(spec(), asked=known.asked))

    assert again.services[0].limits == more
    assert raised.has(again, "web")


@proves("REALLOC-004")
def test_a_template_that_says_something_else_has_the_word() -> None:
    known = raised.remember(spec(), "web", replace(SMALL, memory_bytes=150))
    larger = replace(SMALL, memory_bytes=400)

    again = raised.restore(replace(spec(larger), asked=known.asked))

    assert again.services[0].limits == larger
    assert not raised.has(again, "web")
