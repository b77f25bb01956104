"""A wrong template: file, line, column and the nearest key, exit 3, and nothing was touched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.host import Host, host
from tests.support.requirements import proves
from tests.support.untouched import untouched

_AGENT = "agent: {kind: command, command: [sleep, '1000']}\n"


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with host() as here:
        here.ok("daemon", "start")
        yield here


def wrong(text: str, *says: str, at: str) -> object:
    return pytest.param(text, at, says, id=says[0][:40])


@proves("BAD-030")
@pytest.mark.parametrize(
    ("text", "at", "says"),
    [
        wrong("envmgr: 1\nservces: {}\n" + _AGENT, "unknown key 'servces'", "Did you mean 'services'?", at="2:1"),
        wrong(
            "envmgr: 1\nservices:\n  a: {command: sleep 9, prots: [x]}\n" + _AGENT,
            "unknown key 'prots'", "Did you mean 'ports'?", at="3:25",
        ),
        wrong("envmgr: 1\nagent:\n  kind: comand\n", "'comand' is not an assistant; use command", at="3:9"),
        wrong(
            "envmgr: 1\nservices:\n  a: {command: x, depends_on: [b]}\n  b: {command: x, depends_on: [a]}\n" + _AGENT,
            "services wait for each other: a -> b -> a", at="3:",
        ),
        wrong(
            "envmgr: 1\nservices:\n  a: {command: x, depends_on: [databse]}\n  database: {command: x}\n" + _AGENT,
            "databse", "Did you mean 'database'?", at="3:",
        ),
        wrong(
            "envmgr: 1\nservices:\n  a: {command: x, ports: {http: {prefer: 70000}}}\n" + _AGENT,
            "70000", at="3:",
        ),
        wrong(
            "envmgr: 1\nservices:\n  a: {command: 'serve ${ports.htp}', ports: [http]}\n" + _AGENT,
            "${ports.htp} names nothing", "Did you mean 'ports.http'?", at="3:",
        ),
        wrong("envmgr: 1\nenv: {A: 1}\nenv: {B: 2}\n" + _AGENT, "env", at="3:1"),
        wrong("envmgr: 1\nservices: [\n", "", at=""),
        wrong("envmgr: 2\n" + _AGENT, "2", at="1:"),
        wrong(
            "envmgr: 1\nservices:\n  a: {command: x, depends_on: {b: {condition: ready}}}\n  b: {command: x}\n" + _AGENT,
            "ready", at="3:",
        ),
    ],
)  # fmt: skip
def test_a_wrong_template_is_reported_by_line_and_nothing_happens(
    shared: Host, text: str, at: str, says: tuple[str, ...]
) -> None:
    shared.template("wrong", text)
    agents = shared.agents()

    with untouched(shared):
        ran = shared.run("spawn", "-t", "wrong")
        checked = shared.run("template", "validate", "wrong")

    assert (ran.code, checked.code) == (3, 3)
    assert f"error: .envmgr/templates/wrong.yaml:{at}" in ran.err
    assert f".envmgr/templates/wrong.yaml:{at}" in checked.err
    for words in says:
        assert words in ran.err
    assert "hint:" in ran.err
    assert "Traceback" not in ran.err
    assert shared.agents() == agents


@proves("BAD-030")
def test_a_variable_that_the_person_has_not_set_is_named_with_its_line(shared: Host) -> None:
    shared.template("unset", "envmgr: 1\nenv:\n  A: ${SURELY_NOT_SET}\n" + _AGENT)

    with untouched(shared):
        ran = shared.run("spawn", "-t", "unset")

    assert ran.code == 3
    assert ".envmgr/templates/unset.yaml:3:6" in ran.err
    assert "SURELY_NOT_SET" in ran.err
    assert shared.run("spawn", "-t", "unset", "--dry-run", env={"SURELY_NOT_SET": "x"}).code == 0


@proves("BAD-031")
def test_templates_that_extend_each_other_are_shown_as_a_circle(shared: Host) -> None:
    shared.template("one", "envmgr: 1\nextends: two\n" + _AGENT)
    shared.template("two", "envmgr: 1\nextends: one\n" + _AGENT)

    ran = shared.run("spawn", "-t", "one")

    assert ran.code == 3
    assert "templates extend each other" in ran.err
    assert ran.err.count("one.yaml") == 2


@proves("BAD-032")
def test_a_param_without_value_or_with_a_wrong_one_is_refused_before_anything_is_recorded(
    shared: Host,
) -> None:
    shared.template(
        "params",
        "envmgr: 1\nparams:\n  target: {required: true}\n  level: {type: enum, values: [low, high], default: low}\n"
        + _AGENT,
    )

    missing = shared.run("spawn", "-t", "params")
    wrong_value = shared.run("spawn", "-t", "params", "-p", "target=x", "-p", "level=medium")

    assert (missing.code, wrong_value.code) == (2, 2)
    assert "target" in missing.err
    assert "--param target=" in missing.err
    assert "medium" in wrong_value.err
    assert "low" in wrong_value.err
    assert "high" in wrong_value.err


@proves("BAD-033")
def test_a_missing_secret_is_named_before_anything_starts(shared: Host) -> None:
    shared.template("secret", "envmgr: 1\nsecrets: {SURELY_NOT_SET: {from: env}}\n" + _AGENT)

    with untouched(shared):
        ran = shared.run("spawn", "-t", "secret", "--name", "keyless")

    assert ran.code in (3, 8)
    assert "SURELY_NOT_SET" in ran.err


@proves("CLI-070")
def test_templates_are_listed_shown_explained_and_described_by_a_schema(shared: Host) -> None:
    shared.template("base", "envmgr: 1\ndescription: The base.\nenv: {A: one}\n" + _AGENT)
    shared.template("child", "envmgr: 1\nextends: base\nenv: {B: two}\n")

    listed = {t["name"]: t for t in shared.ok("template", "list", "--json").json["templates"]}
    explained = {f["path"]: f for f in shared.ok("template", "explain", "child", "--json").json["fields"]}

    assert listed["base"]["description"] == "The base."
    assert listed["web"]["origin"] == "built-in"
    assert (
        shared.ok("template", "show", "base").out == (shared.repo / ".envmgr/templates/base.yaml").read_text()
    )
    assert explained["env.A"]["value"] == "one"
    assert "base.yaml:3" in explained["env.A"]["where"]
    assert "child.yaml:3" in explained["env.B"]["where"]
    assert shared.ok("template", "validate", "child").out == "valid\n"
    assert "services" in shared.ok("template", "schema", "--json").json["schema"]["properties"]
    assert shared.run("template", "show", "bse").code == 4


@proves("CLI-070")
def test_a_template_of_the_repository_shadows_a_built_in_one(shared: Host) -> None:
    shared.template("web", "envmgr: 1\ndescription: Ours.\n" + _AGENT)
    try:
        ours, built_in = (
            t for t in shared.ok("template", "list", "--json").json["templates"] if t["name"] == "web"
        )
        assert (ours["origin"], ours["shadowed"]) == ("repository", False)
        assert (built_in["origin"], built_in["shadowed"]) == ("built-in", True)
    finally:
        (shared.repo / ".envmgr" / "templates" / "web.yaml").unlink()
