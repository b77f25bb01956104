"""Numbers of instances: what a person said, and what the template says."""

from __future__ import annotations

from dataclasses import replace

from envmgr.core.scaled import remember, restore
from envmgr.model.service import ServiceKind, ServiceSpec
from envmgr.model.spec import AgentSpec, Asked
from tests.support.requirements import proves


def spec(replicas: int | None) -> AgentSpec:
    api = ServiceSpec(name="api", kind=ServiceKind.PROCESS, command="serve", replicas=replicas)
    return AgentSpec(
        template="shop",
        source="shop.yaml",
        repo="/repo",
        name="otter",
        services=(api,),
        asked=Asked(template="shop"),
    )


def resolved_again(scaled: AgentSpec, replicas: int | None) -> int | None:
    """What runs when the template says this number now."""
    return restore(replace(spec(replicas), asked=scaled.asked)).services[0].replicas


@proves("RELOAD-018")
def test_what_was_scaled_by_hand_survives_until_the_template_says_another_number() -> None:
    scaled = remember(spec(2), {"api": 5})

    assert scaled.services[0].replicas == 5
    assert resolved_again(scaled, 2) == 5
    assert resolved_again(scaled, 3) == 3
    assert resolved_again(remember(scaled, {"api": 1}), 2) == 1


@proves("RELOAD-018")
def test_a_number_that_the_template_overruled_does_not_come_back() -> None:
    scaled = remember(spec(2), {"api": 5})
    overruled = restore(replace(spec(3), asked=scaled.asked))

    assert resolved_again(overruled, 2) == 2


def test_a_number_that_holds_already_changes_nothing() -> None:
    assert remember(spec(None), {"api": 1}) == spec(None)
    assert remember(spec(2), {"api": 2}) == spec(2)


def test_an_agent_of_which_nothing_is_known_is_scaled_all_the_same() -> None:
    old = replace(spec(None), asked=None)

    assert remember(old, {"api": 2}).services[0].replicas == 2
    assert restore(old) == old
