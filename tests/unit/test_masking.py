"""Secrets in text that is kept."""

from __future__ import annotations

import pytest

from envmgr.core.masking import MASK, is_secret_name, masked
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
    text = "GET http://127.0.0.1:80/tokens?page=2 -> 200; 3 secrets rotated; risk-adverse"
    assert masked(text) == text


@proves("MASK-001")
@pytest.mark.parametrize(
    ("name", "is_one"), [("GITHUB_TOKEN", True), ("dbPassword", True), ("PORT", False), ("TOKENS_DIR", False)]
)
def test_names_of_secrets_are_known(name: str, *, is_one: bool) -> None:
    assert is_secret_name(name) is is_one
