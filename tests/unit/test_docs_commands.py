"""What pages tell to type and to write is taken by envmgr."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from envmgr.bootstrap.local import local
from envmgr.interfaces.cli.main import root
from tests.support.pages import blocks
from tests.support.requirements import ROOT, proves

_PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_CALL = re.compile(
    r"(?:^|\$\(|; |&& |' )(?:\$ )?envmgr ((?:'[^']*'|\"[^\"]*\"|[^;|)#<>'\"\n])*)", re.MULTILINE
)
_COMPOSE = "services: {db: {image: shop/db}, web: {image: shop/web, depends_on: [db]}}"
_INLINE = re.compile(r"`envmgr ([^`]*)`")


def _calls(page: Path) -> list[str]:
    """Command lines of envmgr in the page's shell blocks and between backticks."""
    shell = [block.text for block in blocks(page) if block.language in ("console", "sh")]
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [found.strip() for text in shell for found in _CALL.findall(text)] + _INLINE.findall(prose)


def _refuse_unknown(words: list[str]) -> None:
    """Raise unless the command and all its options exist."""
    command: click.Command = root()
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        group, name = command, words.pop(0)
        assert name in group.commands, f"no command {name}"
        command = group.commands[name]
    if not isinstance(command, click.Group):
        context = click.Context(command, info_name=command.name, **command.context_settings)
        command.make_parser(context).parse_args(words)


@proves("DOCS-004")
@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_a_page_shows_exists(page: Path) -> None:
    wrong = {}
    for call in _calls(page):
        try:
            _refuse_unknown(shlex.split(call))
        except (click.ClickException, AssertionError, ValueError) as error:
            wrong[call] = str(error) or type(error).__name__

    assert wrong == {}


@proves("DOCS-004")
def test_the_pages_show_commands() -> None:
    found = [call for page in _PAGES for call in _calls(page)]

    assert len(found) > 60
    assert "spawn --template shop --count 2" in found


@proves("DOCS-004")
def test_templates_in_guides_are_whole_so_that_they_can_be_copied_and_checked() -> None:
    parts = [
        f"{page.name}:{block.line}"
        for page in sorted((ROOT / "docs" / "how-to").glob("*.md"))
        for block in blocks(page)
        if block.language == "yaml" and not block.text.startswith("envmgr: 1")
    ]

    assert parts == []


@proves("DOCS-004")
def test_every_template_that_a_page_shows_is_valid(tmp_path: Path) -> None:
    templates = local().templates
    wrong = {}
    for name in ("compose.yaml", "compose.dev.yaml"):  # what some of them import
        (tmp_path / name).write_text(_COMPOSE, encoding="utf-8")
    for page in _PAGES:
        for block in blocks(page):
            if block.language == "yaml" and block.text.startswith("envmgr: 1"):
                file = tmp_path / f"{page.stem}-{block.line}.yaml"
                file.write_text(block.text, encoding="utf-8")
                wrong[file.name] = [f"{f.line}: {f.message}" for f in templates.check(str(file), tmp_path)]

    assert len(wrong) > 25
    assert {name: findings for name, findings in wrong.items() if findings} == {}
