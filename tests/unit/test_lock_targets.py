"""The grammar of docs/reference/lock-targets.md, line by line."""

from __future__ import annotations

import time

import pytest

from envmgr.core.overlap import covers, has_path, overlap
from envmgr.core.targets import PREFIXES, parse_target, path_target
from envmgr.errors import UsageError
from tests.support.requirements import ROOT, proves


@proves("LOCK-TARGET-001")
@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("src//api/./x/../y.py", "src/api/y.py"),
        ("./src/", "src"),
        (".", "**"),
        ("**/*", "**"),
        ("src/**/**/a?*?", "src/**/a??*"),
        ("src/*/", "src/**"),
        ("*.d/", "*.d/"),
        ("a**b", "a*b"),
        ("./api:x", "./api:x"),
        ("app/[id]/page.tsx", "app/[id]/page.tsx"),
        ("api:get  /users/{id}/", "api:GET /users/*"),
        ("api:/v1/../v2/{name}.json", "api:/v2/?*.json"),
        ("api:* /x", "api:/x"),
        ("db:schema:users", "db:users"),
        ("db:schema:migration-slot", "db:migration-slot"),
        ("event:*", "event:*"),
        ("contract:./a//b", "contract:a/b"),
        ("feature:add-auth", "feature:add-auth"),
        ("feature:**", "feature:*"),
    ],
)
def test_what_means_the_same_is_written_the_same(written: str, text: str) -> None:
    assert parse_target(written).text == text
    assert parse_target(text) == parse_target(written)


@proves("LOCK-TARGET-001")
@pytest.mark.parametrize(
    "written",
    [
        *("", " ", "\t", "/etc/passwd", "..", "../x", "a/../../x", "**/../x", "a/ ", " a", "a\0b", "a\nb"),
        *(f"{prefix}:" for prefix in PREFIXES),
        *("db:schema:", "tabel:users", "C:\\x", "api:users", "api:GET", "api:GET users", "env:8080"),
        *("event:a..b", "event:a b", "flag:/a", "feature::pause", "db:a:b", "contract:/a", "contract:../a"),
        *("x" * 256, "x/" * 70 + "y", "x/" * 1000, "ab" * 500_000, "\udc80"),
    ],
)
def test_what_is_no_target_is_refused_at_once_and_with_its_reason(written: str) -> None:
    begun = time.perf_counter()

    with pytest.raises(UsageError) as refused:
        parse_target(written)

    assert time.perf_counter() - begun < 0.1
    assert len(refused.value.message) < 200
    assert "\0" not in refused.value.message


@proves("LOCK-TARGET-002")
@pytest.mark.parametrize(
    ("a", "b", "witness"),
    [
        ("src", "src/api/users.py", "src/api/users.py"),
        ("src/*.py", "src/a*", "src/a.py"),
        ("src/*", "src/a/b", None),
        ("src/*", "src/a", "src/a"),
        ("src/**", "src", "src/x"),
        ("src/**/test.py", "src/test.py", "src/test.py"),
        ("a/**/b", "a/b", "a/b"),
        ("src/A.py", "src/a.py", None),
        ("srcs", "src", None),
        ("*", "*.py", "x.py"),
        (".?", "?.", None),
        (".*", "?", None),
        (".*", "*.", "..."),
        ("app/[id].tsx", "app/i.tsx", None),
        ("./db:users", "db:users", None),
        ("api:GET /users/{id}", "api:/users/5", "api:GET /users/5"),
        ("api:GET /users", "api:POST /users", None),
        ("api:/users", "api:/users/{id}", None),
        ("api:/{a}/x", "api:/y/{b}", "api:GET /y/x"),
        ("api:*", "api:/", "api:GET /"),
        ("db:schema:t", "db:t", "db:t"),
        ("db:*", "db:migration-slot", "db:migration-slot"),
        ("event:user.*", "event:user.created", "event:user.created"),
        ("event:user.*", "event:user.a.b", None),
        ("event:*", "event:a.b", "event:a.b"),
        ("flag:billing/*", "flag:billing/dark", "flag:billing/dark"),
        ("flag:a.b", "event:a.b", None),
        ("env:AWS_*", "env:AWS_KEY", "env:AWS_KEY"),
        ("contract:openapi", "contract:openapi/v1.yaml", "contract:openapi/v1.yaml"),
        ("contract:*", "contract:openapi/v1.yaml", "contract:openapi/v1.yaml"),
        ("feature:f1", "feature:f1:pause", "feature:f1:pause"),
        ("feature:f1:pause", "feature:f1:review", None),
        ("feature:*:pause", "feature:f1", "feature:f1:pause"),
    ],
)
def test_two_targets_overlap_with_a_witness_or_not_at_all(a: str, b: str, witness: str | None) -> None:
    assert overlap(parse_target(a), parse_target(b)) == witness
    assert (overlap(parse_target(b), parse_target(a)) is None) == (witness is None)


@proves("LOCK-TARGET-003")
@pytest.mark.parametrize(
    ("a", "b", "is_covered"),
    [
        ("src", "src/**/*.py", True),
        ("src/**", "src", False),
        ("**", "**/a/b", True),
        ("**/a*/", "x/ab/c", True),
        ("src/a*", "src/*", False),
        ("api:/u/{id}", "api:GET /u/5", True),
        ("feature:f", "feature:f:pause", True),
        ("db:users", "users", False),
    ],
)
def test_one_target_covers_another_when_it_has_all_of_it(a: str, b: str, *, is_covered: bool) -> None:
    assert covers(parse_target(a), parse_target(b)) is is_covered


@proves("LOCK-TARGET-002")
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("*a" * 127, "*b" * 127),
        ("/".join(["*a" * 120] * 4), "/".join(["**", "*a" * 80 + "b", "*a" * 120])),
        ("**/a/" * 20 + "b", "**/a/" * 20 + "c"),
    ],
)
def test_no_pattern_takes_long(a: str, b: str) -> None:
    one, other = parse_target(a), parse_target(b)
    begun = time.process_time()

    assert overlap(one, other) is None
    assert not covers(one, other)

    assert time.process_time() - begun < 0.25  # measured: 0.015


@proves("LOCK-TARGET-001")
@pytest.mark.parametrize(
    "name", ["a b.txt", "ends ", "line\nbreak", "star*.py", "api:x", "[id].tsx", "\udcff"]
)
def test_any_file_that_exists_can_be_named(name: str) -> None:
    target = path_target(name)

    plain = target.text.removeprefix("./")
    assert has_path(target, name), plain


@proves("LOCK-TARGET-006")
def test_the_reference_names_every_prefix() -> None:
    page = (ROOT / "docs" / "reference" / "lock-targets.md").read_text(encoding="utf-8")

    assert [prefix for prefix in PREFIXES if f"| `{prefix}:` |" not in page] == []
