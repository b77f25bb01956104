"""Requirements and tests name each other."""

from __future__ import annotations

from collections import Counter

from tests.support.requirements import declared, proved, proves


@proves("HOUSE-001")
def test_every_requirement_has_a_test() -> None:
    known = {requirement.id: f"{requirement.id} ({requirement.file})" for requirement in declared()}

    unproved = [known[name] for name in sorted(known.keys() - proved().keys())]

    assert unproved == []


@proves("HOUSE-001")
def test_every_id_on_a_test_is_a_requirement() -> None:
    known = {requirement.id for requirement in declared()}

    invented = {name: files for name, files in proved().items() if name not in known}

    assert invented == {}


@proves("HOUSE-001")
def test_an_id_in_several_files_says_one_thing() -> None:
    said = {(requirement.id, requirement.says) for requirement in declared()}

    contradictory = [name for name, count in Counter(name for name, _ in said).items() if count > 1]

    assert contradictory == []


@proves("HOUSE-001")
def test_every_requirement_is_one_sentence_with_a_source() -> None:
    odd = [
        requirement.id
        for requirement in declared()
        if not requirement.says.endswith(".") or "\n" in requirement.says or not requirement.source
    ]

    assert odd == []
