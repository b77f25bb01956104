from __future__ import annotations

import pytest

from envmgr.core.placeholders import BadPlaceholder, escape, fill_shell, references, render
from tests.support.requirements import proves

VALUES = {"ports.http": "20001", "services.db.ports.sql": "20002", "secrets.KEY": "a'b $c"}


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("http://127.0.0.1:${ports.http}/", "http://127.0.0.1:20001/"),
        ("${ports.http}${services.db.ports.sql}", "2000120002"),
        ("cost: $$5 and $$$$", "cost: $5 and $$"),
        ("$${ports.http}", "${ports.http}"),
        ("$HOME stays", "$HOME stays"),
        ("", ""),
    ],
)
def test_text_gets_its_values_and_single_dollars(text: str, rendered: str) -> None:
    assert render(text, VALUES, shell=False) == rendered


@pytest.mark.parametrize(
    ("line", "rendered"),
    [
        ("serve -p ${ports.http}", "serve -p 20001"),
        ("echo $HOME ${HOME} ${HOME:-x} $$ $1", "echo $HOME ${HOME} ${HOME:-x} $$ $1"),
        ("x ${secrets.KEY}", "x 'a'\\''b $c'"),
        ('x "${secrets.KEY}"', 'x "a\'b \\$c"'),
        ("x '${secrets.KEY}'", "x 'a'\\''b $c'"),
        (r"x \${ports.http}", r"x \${ports.http}"),
        ("x $(port ${ports.http})", "x $(port 20001)"),
    ],
)
@proves("TMPL-010")
def test_a_command_line_keeps_its_own_dollars_and_gets_quoted_values(line: str, rendered: str) -> None:
    assert render(line, VALUES, shell=True) == rendered


@pytest.mark.parametrize(
    "line",
    ["x $(y ${secrets.KEY})", "x `y ${secrets.KEY}`", "x # ${secrets.KEY}", "cat <<E\n${secrets.KEY}\nE"],
)
def test_a_value_that_cannot_be_quoted_safely_is_refused(line: str) -> None:
    with pytest.raises(BadPlaceholder, match="secrets.KEY"):
        render(line, VALUES, shell=True)


def test_a_piece_of_a_value_is_never_taken_for_a_reference() -> None:
    evil = "${ports.http}"
    for line in ("x ${params.v}", "x '${params.v}'", 'x "${params.v}"'):
        early = fill_shell(line, {"params.v": evil}.get)

        assert render(early, VALUES, shell=True) == early

    assert render(escape(evil), VALUES, shell=False) == evil


@pytest.mark.parametrize("text", ["${ports.htp}", "${", "${a b}", "${}"])
def test_what_has_no_value_or_no_form_is_refused(text: str) -> None:
    with pytest.raises(BadPlaceholder):
        render(text, VALUES, shell=False)


def test_references_are_listed_in_order() -> None:
    assert references("${b.x} ${A} ${a.y}", shell=False) == ["b.x", "a.y"]
    assert references("${b.x} ${A} '${a.y}'", shell=True) == ["b.x", "a.y"]
