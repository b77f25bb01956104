"""Whatever fits the OpenAPI document is answered as the document says (schemathesis, bounded)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS
from schemathesis.core.result import Ok
from schemathesis.core.transport import Response

from envmgr.app.openapi import openapi
from envmgr.app.registry import OPERATIONS as REGISTRY
from tests.support.api import Api, api
from tests.support.requirements import proves

# Any throughout: JSON documents and what schemathesis makes of them.

DOCUMENT = schemathesis.openapi.from_dict(openapi("1"))
OPERATIONS = [found.ok() for found in DOCUMENT.get_all_operations() if isinstance(found, Ok)]
_CHECKS: Any = CHECKS.get_by_names(
    [
        *("status_code_conformance", "content_type_conformance"),
        *("response_schema_conformance", "response_headers_conformance"),
    ]
)
_EXAMPLES = 4
_DEADLINE_S = 20.0
# What goes on until the asker has enough. What would end the daemon, the key may not do.
_ENDLESS = ("follow", "wait_s")


@pytest.fixture(scope="module")
def served() -> Iterator[Api]:
    with api(ENVMGR_HTTP__PER_S="0", ENVMGR_REAPER__AGAIN_S="0.1") as found:
        yield found


@pytest.fixture(scope="module")
def key(served: Api) -> str:
    return served.key("fuzz")


def ask(case: Any, served: Api, key: str) -> Response:
    """Send it; about a repository that is there, unless the case names another one."""
    name = case.operation.definition.raw["operationId"].partition("--")[0]
    in_body = isinstance(case.body, dict)
    asked = case.body if in_body else case.query
    if isinstance(asked, dict):
        asked = {key: value for key, value in asked.items() if key not in _ENDLESS}
        if "repo" in REGISTRY[name].takes.model_fields and not asked.get("repo"):
            asked["repo"] = str(served.here.repo)
        setattr(case, "body" if in_body else "query", asked)
    words = case.as_transport_kwargs(base_url=served.url)
    words["headers"]["X-API-Key"] = key
    return Response.from_requests(requests.request(**words, timeout=_DEADLINE_S), verify=False)


@proves("HTTP-007")
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_what_fits_the_document_is_answered_as_it_says(operation: Any, served: Api, key: str) -> None:
    @settings(
        max_examples=_EXAMPLES, database=None, deadline=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy())
    def run(case: Any) -> None:
        answer = ask(case, served, key)

        assert answer.status_code < 500 or answer.status_code == 503, answer.text
        case.validate_response(answer, checks=_CHECKS)

    run()


@proves("HTTP-007")
def test_the_document_that_is_served_is_the_one_that_is_tried(served: Api, key: str) -> None:
    answer = requests.get(f"{served.url}/api/v1/openapi.json", headers={"X-API-Key": key}, timeout=20)

    assert answer.json() == openapi("1")
    assert len(OPERATIONS) == sum(len(methods) for methods in answer.json()["paths"].values())


@proves("HTTP-007")
def test_an_answer_that_the_document_does_not_know_is_found(served: Api) -> None:
    operation = DOCUMENT["/api/v1/me"]["GET"]
    case = operation.Case()
    answer = requests.get(f"{served.url}/api/v1/live", timeout=20)

    with pytest.raises(schemathesis.errors.FailureGroup):
        case.validate_response(Response.from_requests(answer, verify=False), checks=_CHECKS)
