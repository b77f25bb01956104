"""Secrets in text that is kept."""

from __future__ import annotations

import time

import pytest

from envmgr.core.masking import MASK, is_secret_name, masked, masked_stream, stripped
from tests.support.requirements import proves


@proves("MASK-001")
def test_known_values_go_wherever_they_stand_the_longest_first() -> None:
    assert masked("a=hunter22x b=hunter2", ["hunter2", "hunter22x"]) == f"a={MASK} b={MASK}"
    assert masked("yes, no", ["no"]) == "yes, no"  # too short to be told from a word


@proves("MASK-001")
@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("DB_PASSWORD=abc123def next", f"DB_PASSWORD={MASK} next"),
        ('{"api_key": "abc123def", "port": 1}', f'{{"api_key": "{MASK}", "port": 1}}'),
        ("psql postgres://shop:hunter2@127.0.0.1:5432/shop", f"psql postgres://shop:{MASK}@127.0.0.1:5432/shop"),
        ("Authorization: Bearer abcdefghijkl", f"Authorization: Bearer {MASK}"),
        ("run --token abc123def --port 1", f"run --token {MASK} --port 1"),
        ("key sk-ant-api03-abcdefgh is wrong", f"key {MASK} is wrong"),
        ("ghp_abcdefghijklmnopqrst", MASK),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_goes_too(text: str, without: str) -> None:
    assert masked(text) == without


@proves("MASK-001")
def test_other_text_stays_as_it_is() -> None:
    text = "GET http://127.0.0.1:80/tokens?page=2 -> 200; 3 secrets rotated; risk-adverse; secrets: {TOKEN: {from: env}}; PASSWORD=${secrets.DB}"
    assert masked(text) == text


@proves("MASK-001")
@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("Expired token: users see a blank page.", "Expired token: users see a blank page."),
        ("Credentials: Rotate. Add Basic authentication", "Credentials: Rotate. Add Basic authentication"),
        ("Bearer abcdef123456", f"Bearer {MASK}"),
        ("--password swordfish", f"--password {MASK}"),
        ("password: hunter2", f"password: {MASK}"),
        ("token=users", f"token={MASK}"),
        ("API_KEY:abcdefgh", f"API_KEY:{MASK}"),
    ],
)
def test_what_people_write_about_secrets_stays_in_prose(text: str, without: str) -> None:
    assert masked(text, is_prose=True) == without


@proves("MASK-001")
@pytest.mark.parametrize(
    ("name", "is_one"), [("GITHUB_TOKEN", True), ("dbPassword", True), ("PORT", False), ("TOKENS_DIR", False)]
)
def test_names_of_secrets_are_known(name: str, *, is_one: bool) -> None:
    assert is_secret_name(name) is is_one


@proves("MASK-002")
def test_data_goes_by_the_names_that_values_have() -> None:
    data = {"env": {"OPENAI_API_KEY": "abc", "MODE": "dev"}, "argv": ["run", "--token abc123def"], "port": 1}

    assert stripped(data) == {
        "env": {"OPENAI_API_KEY": MASK, "MODE": "dev"},
        "argv": ["run", f"--token {MASK}"],
        "port": 1,
    }


@proves("MASK-002")
def test_of_two_secrets_that_begin_alike_the_longer_goes_wherever_a_stream_is_cut() -> None:
    text = b"one abcdefgh two abcd three abcdefgh"

    for cut in range(len(text) + 1):
        said = b"".join(masked_stream([text[:cut], text[cut:]], ["abcd", "abcdefgh"]))
        assert said == f"one {MASK} two {MASK} three {MASK}".encode()


@proves("MASK-002")
@pytest.mark.parametrize("before", [0, 100, (1 << 14) - 20, 1 << 14, 1 << 18])
def test_a_stream_loses_what_looks_like_a_secret_and_nothing_else(before: int) -> None:
    line = b"GET / \xff\r\n"
    lines = line * (before // len(line))
    chunks = [lines, b"DB_PASS", b"WORD=abc123def next\n", b"", b"the end"]

    said = b"".join(masked_stream(chunks, ["other-secret"]))

    assert said == lines + f"DB_PASSWORD={MASK} next\nthe end".encode()


@proves("MASK-002")
@pytest.mark.parametrize("line", [b"a.a-" * 50_000, b"token" * 40_000, b" --a" * 50_000 + b"token "])
def test_no_line_takes_a_time_that_grows_with_its_square(line: bytes) -> None:
    began = time.process_time()

    b"".join(masked_stream([line]))

    assert time.process_time() - began < 2
