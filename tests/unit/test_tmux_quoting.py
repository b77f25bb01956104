from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmgr.drivers.tmux.quoting import arguments, clean, control_line, text_in_format
from envmgr.errors import UsageError
from tests.support.requirements import proves


def test_every_word_of_a_control_line_is_quoted() -> None:
    line = control_line(["send-keys", "-t", "%1", '$HOME "~" \\ ;', "a\nb\r"])

    assert line == b'"send-keys" "-t" "%1" "\\$HOME \\"\\~\\" \\\\ ;" "a\\nb\\r"\n'


@given(st.lists(st.text().filter(lambda word: "\0" not in word), min_size=1))
def test_a_command_is_one_line_whatever_its_words_hold(words: list[str]) -> None:
    assert control_line(words).count(b"\n") == 1


def test_commands_of_a_process_are_parted_by_semicolons_and_a_word_that_ends_in_one_does_not_part_them() -> (
    None
):
    assert arguments([["one", "a;", ";"], ["two"]]) == ["one", "a\\;", "\\;", ";", "two"]


@pytest.mark.parametrize("say", [control_line, lambda command: arguments([command])])
def test_a_nul_is_refused(say: object) -> None:
    assert callable(say)
    with pytest.raises(UsageError):
        say(["set-option", "a\0b"])


def test_formats_in_a_path_are_made_harmless() -> None:
    assert text_in_format("/a#{pid}/#(reboot)/c##d/e#[fg=red]") == "/a##{pid}/##(reboot)/c####d/e#[fg=red]"


@proves("R-22")
@given(st.text())
def test_a_cleaned_text_has_no_control_character_but_tab_and_line_feed(text: str) -> None:
    left = {ord(character) for character in clean(text)}

    assert not left & {*range(9), *range(11, 32), *range(127, 160)}


def test_cleaning_keeps_lines_and_every_printable_character() -> None:
    assert clean("a\tb\r\nc\rd\n\x1b[201~é世\x9b\x7f") == "a\tb\nc\nd\n[201~é世"
