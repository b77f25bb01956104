"""Every field of what a template resolves to has an effect, written down in one place."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from envmgr.core import impacts
from envmgr.model.container import ContainerSpec
from envmgr.model.service import PortSpec, ServiceSpec
from envmgr.model.spec import AgentSpec, AssistantSpec
from tests.support.requirements import proves

TABLES = [
    (ServiceSpec, impacts.SERVICE),
    (ContainerSpec, impacts.CONTAINER),
    (PortSpec, impacts.PORT),
    (AgentSpec, impacts.AGENT),
    (AssistantSpec, impacts.ASSISTANT),
]


@proves("RELOAD-001")
@pytest.mark.parametrize(("kind", "table"), TABLES, ids=lambda value: getattr(value, "__name__", ""))
def test_each_field_has_one_effect_and_each_effect_a_field(kind: Any, table: Any) -> None:
    assert set(table) == {field.name for field in fields(kind)}
