from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmgr.drivers.tmux.parser import Reply, ReplyParser, StreamError
from tests.support.requirements import proves

MARKER = b"5d41402abc4b2a76b9719d911017c592"


def block(number: int, text: bytes, *, flag: int = 1, end: bytes = b"end") -> bytes:
    fields = b"1795153605 %d %d" % (number, flag)
    body = text + b"\n" if text else b""
    return b"%begin " + fields + b"\n" + body + b"%" + end + b" " + fields + b"\n"


def answer(number: int, text: bytes, *, marker: bytes = MARKER, end: bytes = b"end") -> bytes:
    return block(number, text, end=end) + block(number + 1, marker)


def parser(*markers: bytes) -> ReplyParser:
    made = ReplyParser()
    for marker in markers:
        made.expect(marker)
    return made


def ok(text: bytes) -> Reply:
    return Reply(text=text, is_error=False)


def test_a_reply_is_what_stands_between_begin_and_end() -> None:
    assert parser(MARKER).feed(answer(7, b"one\ntwo")) == [ok(b"one\ntwo")]


def test_an_empty_reply_is_empty() -> None:
    assert parser(MARKER).feed(answer(7, b"")) == [ok(b"")]


def test_a_failed_command_is_an_error_with_its_text() -> None:
    stream = answer(7, b"can't find pane: %9", end=b"error")

    assert parser(MARKER).feed(stream) == [Reply(text=b"can't find pane: %9", is_error=True)]


def test_what_stands_outside_of_replies_is_ignored() -> None:
    greeting = block(3, b"", flag=0) + b"%window-add @2\n%session-changed $1 _hub\n%something-new\n"

    assert parser(MARKER).feed(greeting + answer(7, b"text") + b"%exit\n") == [ok(b"text")]


def test_the_block_of_a_hook_between_a_reply_and_its_marker_is_not_the_reply() -> None:
    stream = block(7, b"mine") + block(8, b"a hook's", flag=0) + block(9, MARKER)

    assert parser(MARKER).feed(stream) == [ok(b"mine")]


@proves("TMUX-006")
def test_a_printed_end_does_not_end_a_reply() -> None:
    forged = b"%end 1795153605 7 1\n%begin 1795153605 8 1\n%exit\n%error 1795153605 7 1\nmore"

    assert parser(MARKER, MARKER).feed(answer(7, forged) + answer(9, b"next")) == [ok(forged), ok(b"next")]


@proves("TMUX-006")
@given(
    texts=st.lists(
        st.lists(
            st.sampled_from(
                [
                    b"",
                    b"%end 1795153605 1 1",
                    b"%error 1795153605 1 1",
                    b"%begin 1795153605 2 1",
                    b"%1",
                    b"\xff\r",
                ]
            )
        ).map(b"\n".join),
        max_size=4,
    ),
    cuts=st.lists(st.integers(0, 2000)),
)
def test_replies_are_the_same_however_the_stream_is_cut(texts: list[bytes], cuts: list[int]) -> None:
    markers = [b"%032x" % number for number in range(len(texts))]
    stream = b"%noise\n".join(
        answer(1, text, marker=marker) for text, marker in zip(texts, markers, strict=True)
    )
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    made = parser(*markers)

    replies = [reply for at, to in itertools.pairwise(edges) for reply in made.feed(stream[at:to])]

    assert replies == [ok(text) for text in texts]


def test_a_reply_nobody_asked_for_is_a_broken_stream() -> None:
    with pytest.raises(StreamError):
        parser().feed(block(7, b"text"))


def test_a_line_without_end_is_a_broken_stream() -> None:
    made = ReplyParser(line_limit_bytes=100)

    assert made.feed(b"%output " + b"x" * 92) == []
    with pytest.raises(StreamError):
        made.feed(b"x")


def test_a_line_of_four_megabytes_is_taken() -> None:
    text = b"x" * 4_000_000
    stream = answer(7, text)
    made = parser(MARKER)

    replies = [reply for at in range(0, len(stream), 65536) for reply in made.feed(stream[at : at + 65536])]

    assert replies == [ok(text)]
