"""The reading of documentation pages, on which their tests stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pages import agrees, blocks, commands
from tests.support.requirements import proves


@proves("DOCS-001")
@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("valid\n", "valid\n"),
        ("error: ...15:5: no...\n", "error: /tmp/x.yaml:15:5: nonsense\n"),
        ("...\nend\n", "one\ntwo\nend\n"),
        ("a  12s  http://127.0.0.1:20000/\n", "a 3s http://127.0.0.1:20460/\n"),
    ],
)
def test_output_agrees_up_to_what_is_left_out_or_varies(shown: str, printed: str) -> None:
    assert agrees(shown, printed)


@proves("DOCS-001")
@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("valid\n", "invalid\n"),
        ("valid\n", "valid\nand more\n"),
        ("", "error\n"),
        ("one\n...\n", "two\nthree\n"),
        ("a.c\n", "abc\n"),
    ],
)
def test_other_output_does_not_agree(shown: str, printed: str) -> None:
    assert not agrees(shown, printed)


@proves("DOCS-001")
def test_a_page_is_read_as_files_to_write_and_commands_to_type(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Write `a/b.yaml`:\n\n```yaml\nkey: 1\n```\n\nThen:\n\n```console\n$ one\nsaid\n$ two\n```\n",
        encoding="utf-8",
    )

    written, typed = blocks(page)

    assert (written.file, written.text, typed.file) == ("a/b.yaml", "key: 1\n", "")
    assert [(command.line, command.shown) for command in commands(typed)] == [("one", "said\n"), ("two", "")]
