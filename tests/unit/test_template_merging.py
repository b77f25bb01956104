from __future__ import annotations

from pathlib import Path

import pytest

from envmgr.config.nodes import Node, plain
from envmgr.config.toml_source import read_toml
from envmgr.config.yaml_source import read_yaml
from envmgr.errors import ConfigError
from envmgr.model.probe import LogProbe, TcpProbe
from envmgr.model.service import ProcessLimits
from tests.support.requirements import proves
from tests.support.templates import HEAD, Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


BASE = """\
envmgr: 1
env: {A: base, B: base}
services:
  web: {command: serve, ports: [http], ready: {tcp: http, deadline: 5s}}
  db: {command: db}
agent: {args: [one, two]}
"""


@proves("TMPL-003")
def test_maps_merge_lists_replace_and_null_deletes(desk: Desk) -> None:
    desk.write(BASE, "base.yaml")

    spec = desk.spec(
        HEAD + "extends: base\nenv: {B: child, C: child}\nservices: {db: null}\nagent: {args: [three]}\n"
    )

    assert spec.env == {"A": "base", "B": "child", "C": "child"}
    assert [service.name for service in spec.services] == ["web"]
    assert spec.assistant.args == ("three",)


def test_naming_another_probe_replaces_the_inherited_one_and_keeps_its_timing(desk: Desk) -> None:
    desk.write(BASE, "base.yaml")

    spec = desk.spec(HEAD + "extends: base\nservices: {web: {healthcheck: {log: up}}}\n")

    assert spec.services[0].ready is not None
    assert spec.services[0].ready.probe == LogProbe(pattern="up")
    assert spec.services[0].ready.deadline_s == 5.0


def test_ports_named_like_probes_are_not_probes(desk: Desk) -> None:
    desk.write(BASE, "base.yaml")

    spec = desk.spec(
        HEAD
        + "extends: base\nservices: {web: {ports: !unset , cwd: src}}\n".replace("!unset ", "[http, tcp]")
    )

    assert [port.name for port in spec.services[0].ports] == ["http", "tcp"]


def test_toml_deletes_with_a_word(desk: Desk) -> None:
    desk.write(BASE, "base.yaml")
    desk.write('envmgr = 1\nextends = "base"\n[services]\ndb = "!unset"\n', "child.toml")

    template = desk.templates.load("child", desk.repo)

    assert "db" not in plain(template.tree)["services"]  # type: ignore[index]  # plain() is as untyped as YAML


def test_later_parents_win_and_a_path_is_relative_to_the_file_that_names_it(desk: Desk) -> None:
    desk.write(HEAD + "env: {A: one, B: one}\n", "one.yaml")
    desk.write(HEAD + "env: {B: two}\n", "parts/two.yaml")

    spec = desk.spec(HEAD + "extends: [one, ./parts/two.yaml]\nagent: {}\n")

    assert spec.env == {"A": "one", "B": "two"}


def test_a_name_and_the_parents_of_a_parent_stay_with_the_parent(desk: Desk) -> None:
    desk.write(HEAD + "env: {A: grand}\n", "grand.yaml")
    desk.write(HEAD + "name: parent\nextends: grand\n", "parent.yaml")

    assert desk.spec(HEAD + "extends: parent\nagent: {}\n").env == {"A": "grand"}


@proves("TMPL-004")
def test_a_ring_of_templates_is_named(desk: Desk) -> None:
    for name, parent in (("a", "b"), ("b", "c"), ("c", "a")):
        desk.write(HEAD + f"extends: {parent}\n", f"{name}.yaml")

    with pytest.raises(ConfigError) as caught:
        desk.templates.load("a", desk.repo)

    chain = " -> ".join(f".envmgr/templates/{name}.yaml" for name in "abca")
    assert caught.value.message == f".envmgr/templates/c.yaml:2:10: templates extend each other: {chain}"


def test_two_ways_to_the_same_parent_are_no_ring(desk: Desk) -> None:
    desk.write(HEAD + "env: {A: x}\n", "root.yaml")
    desk.write(HEAD + "extends: root\n", "left.yaml")
    desk.write(HEAD + "extends: root\n", "right.yaml")

    assert desk.spec(HEAD + "extends: [left, right]\nagent: {}\n").env == {"A": "x"}


def test_an_error_in_a_parent_names_the_parent(desk: Desk) -> None:
    desk.write(HEAD + "env:\n  A-B: 1\n", "base.yaml")

    with pytest.raises(ConfigError, match=r"base\.yaml:3:3: env\.A-B: not a valid name"):
        desk.load(HEAD + "extends: base\nagent: {}\n")


@proves("TMPL-003")
def test_defaults_are_merged_under_every_service(desk: Desk) -> None:
    spec = desk.spec("""\
envmgr: 1
defaults: {stop: {grace: 3s}, limits: {memory: 1GiB}, ready: {deadline: 9s}, logs: {keep: 1}}
services:
  a: {command: x, ports: [p], ready: {tcp: p}, stop: {signal: INT}}
  b: {command: x, limits: {memory: 2GiB}}
agent: {}
""")

    a, b = spec.services
    assert (a.stop.signal, a.stop.grace_s, a.logs.keep) == ("SIGINT", 3.0, 1)
    assert a.ready is not None
    assert (a.ready.deadline_s, a.ready.probe) == (9.0, TcpProbe(port="p"))
    assert (b.ready, b.limits) == (None, ProcessLimits(memory_bytes=2 * 1024**3))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("22:22", "22:22"),
        ("1_000", "1_000"),
        ("true", True),
        ("~", None),
        ("", None),
        ("12", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.5e3", 1500.0),
        ("'12'", "12"),
        ("2020-01-01", "2020-01-01"),
    ],
)
@proves("TMPL-005")
def test_yaml_means_what_version_1_2_says(text: str, value: object) -> None:
    assert plain(read_yaml(f"a: {text}\n", "t")) == {"a": value}


def test_numbers_in_variables_stay_as_they_are_written(desk: Desk) -> None:
    spec = desk.spec(HEAD + "env: {MODE: 0644, V: 1.10, B: true, N: 1_0}\nagent: {args: [-p, 0080]}\n")

    assert spec.env == {"MODE": "0644", "V": "1.10", "B": "true", "N": "1_0"}
    assert spec.assistant.args == ("-p", "0080")


def test_anchors_and_merge_keys_work_and_x_keys_are_ignored(desk: Desk) -> None:
    spec = desk.spec("""\
envmgr: 1
x-base: &base {command: serve, critical: false}
services:
  a: {<<: *base}
  b: {<<: *base, command: other, x-note: mine}
agent: {}
""")

    assert [(service.command, service.critical) for service in spec.services] == [
        ("serve", False),
        ("other", False),
    ]


def test_yaml_and_toml_say_the_same() -> None:
    yaml: Node = read_yaml(
        "envmgr: 1\nservices:\n  web:\n    command: x\n    ports: {http: {prefer: 1}}\n", "t"
    )
    toml: Node = read_toml("envmgr = 1\n[services.web]\ncommand = 'x'\nports.http.prefer = 1\n", "t")

    assert plain(yaml) == plain(toml)
