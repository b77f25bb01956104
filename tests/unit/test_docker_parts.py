"""The parts of the engine's driver that need no engine: addresses, moments, frames, lines, refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from envmgr.drivers.docker import address, reading, trouble
from envmgr.drivers.docker.address import Address
from envmgr.drivers.docker.output import Frames, Heard, Lines
from envmgr.errors import ConfigError, Conflict, EnvmgrError, NotFound, PortTaken, Unavailable
from tests.support.requirements import proves


@proves("DOCK-020")
@pytest.mark.parametrize(
    ("host", "environ", "expected"),
    [
        ("", {}, None),
        ("unix:///a/b.sock", {}, Address(url="unix:///a/b.sock", socket="/a/b.sock")),
        ("", {"DOCKER_HOST": "unix:///c.sock"}, Address(url="unix:///c.sock", socket="/c.sock")),
        ("unix:///a.sock", {"DOCKER_HOST": "tcp://x:1"}, Address(url="unix:///a.sock", socket="/a.sock")),
        ("tcp://box", {}, Address(url="tcp://box:2375", host="box", port=2375)),
        ("tcp://[::1]:99", {}, Address(url="tcp://[::1]:99", host="::1", port=99)),
        (
            "tcp://box",
            {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/certs"},
            Address(url="https://box:2376", host="box", port=2376, certificates="/certs"),
        ),
    ],
)
def test_an_address_is_read_from_setting_and_environment(
    host: str, environ: dict[str, str], expected: Address | None
) -> None:
    assert address.given(host, environ=environ) == expected


@proves("DOCK-020")
@pytest.mark.parametrize(
    ("host", "environ", "described"),
    [
        ("unix:///a.sock", {}, "unix:///a.sock (docker.host of the settings)"),
        ("", {"DOCKER_HOST": "tcp://box:1"}, "tcp://box:1 (DOCKER_HOST)"),
    ],
)
def test_an_address_tells_who_gave_it(host: str, environ: dict[str, str], described: str) -> None:
    found = address.given(host, environ=environ)

    assert found is not None
    assert found.described == described


@proves("DOCK-020")
def test_docker_s_own_command_line_is_led_to_an_engine_behind_certificates() -> None:
    found = address.given("https://box", environ={"DOCKER_CERT_PATH": "/certs"})

    assert found is not None
    assert found.variables() == {
        "DOCKER_HOST": "tcp://box:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/certs"
    }  # fmt: skip


@proves("DOCK-020")
def test_sockets_of_rootless_engines_are_found(tmp_path: Path) -> None:
    (tmp_path / "docker.sock").touch()

    places = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": "/nowhere"}
    found = address.usual(places, system=str(tmp_path / "none"))

    assert found == Address(url=f"unix://{tmp_path}/docker.sock", socket=f"{tmp_path}/docker.sock")


@proves("DOCK-004")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0.0),
        ("0001-01-01T00:00:00Z", 0.0),
        ("2001-09-09T01:46:40Z", 1e9),
        ("2001-09-09T01:46:40.123456789Z", 1000000000.123456),
        ("2001-09-09T03:46:40.5+02:00", 1000000000.5),
    ],
)
def test_moments_of_the_engine(text: str, expected: float) -> None:
    assert reading.moment(text) == expected


def _frame(kind: int, payload: bytes) -> bytes:
    return bytes([kind, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


@proves("DOCK-010")
@pytest.mark.parametrize("size", [1, 3, 8, 11, 1000])
def test_frames_are_found_however_they_are_cut(size: int) -> None:
    sent = _frame(1, b"one") + _frame(2, b"") + _frame(1, b"three" * 40)
    frames = Frames()

    found = [
        frame for start in range(0, len(sent), size) for frame in frames.feed(sent[start : start + size])
    ]

    assert found == [(1, b"one"), (2, b""), (1, b"three" * 40)]


_EARLY, _LATE = b"2001-09-09T01:46:40Z ", b"2001-09-09T01:46:41Z "


@proves("DOCK-010")
def test_pieces_of_a_line_share_a_stamp_and_streams_do_not_mix() -> None:
    lines = Lines()

    found = [
        *lines.feed(1, _EARLY + b"long "),
        *lines.feed(2, _EARLY + b"error\n"),
        *lines.feed(1, _EARLY + b"line\n"),
    ]

    assert found == [(1e9, b"error\n"), (1e9, b"long line\n")]
    assert lines.rest() == []


@proves("DOCK-010")
def test_a_lost_newline_is_put_back_when_another_line_follows() -> None:
    lines = Lines()

    found = [
        *lines.feed(1, _EARLY + b"long"),
        *lines.feed(1, _LATE + b"next\n"),
        *lines.feed(1, _LATE + b"end"),
    ]

    assert found == [(1e9, b"long\n"), (1e9 + 1, b"next\n")]
    assert lines.rest() == [(1e9 + 1, b"end")]


@proves("DOCK-010")
def test_what_was_heard_is_not_heard_again_but_equal_lines_are_not_lost() -> None:
    heard = Heard(0.0)
    first = [(1.0, b"a\n"), (2.0, b"b\n"), (2.0, b"b\n")]
    assert [heard.is_new(line, begun_at=None) for line in first] == [True, True, True]

    assert heard.since() == "2.000000"
    again = [(2.0, b"b\n"), (2.0, b"b\n"), (2.0, b"b\n"), (3.0, b"c\n")]

    assert [heard.is_new(line, begun_at=None) for line in again] == [False, False, True, True]


@proves("DOCK-010")
def test_a_line_that_has_not_ended_is_asked_for_again_from_its_beginning() -> None:
    heard = Heard(0.0)

    assert heard.is_new((2.0, b"b\n"), begun_at=1.0)

    assert heard.since() == "1.000000"
    assert not heard.is_new((2.0, b"b\n"), begun_at=None)
    assert heard.is_new((1.0, b"long one\n"), begun_at=None)


@proves("DOCK-003")
@pytest.mark.parametrize(
    ("status", "words", "expected"),
    [
        (500, "Bind for 127.0.0.1:80 failed: port is already allocated", PortTaken),
        (500, "listen tcp6 [::1]:80: bind: address already in use", PortTaken),
        (500, "failed to bind host port for 0.0.0.0:80:172.17.0.2:80/tcp: address already in use", PortTaken),
        (500, "write /var/lib/docker/x: no space left on device", Unavailable),
        (404, "No such container: x", NotFound),
        (409, 'The container name "/x" is already in use by container y', Conflict),
        (403, "error while removing network: network x has active endpoints", Conflict),
        (400, 'invalid mount config for type "bind"', ConfigError),
        (500, "unable to find user x: no matching entries in passwd file", ConfigError),
        (500, "something new", Unavailable),
    ],
)
def test_refusals_become_errors_of_ours(status: int, words: str, expected: type[EnvmgrError]) -> None:
    error = trouble.refusal(status, words, what="starting container x")

    assert type(error) is expected
    assert error.hint
    if isinstance(error, PortTaken):
        assert error.port == 80
