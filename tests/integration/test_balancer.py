"""The balancer as a program: connections in, connections out, nothing lost."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from envmgr.drivers.balancer import program
from tests.support.balancers import balancer, everything, free_port, says, server
from tests.support.requirements import proves
from tests.support.wait import eventually


@proves("REPL-003")
def test_ready_instances_take_turns(tmp_path: Path) -> None:
    with (
        server(says(b"a")) as a,
        server(says(b"b")) as b,
        balancer(tmp_path, **{"api-0": a, "api-1": b}) as one,
    ):
        assert Counter(one.ask() for _ in range(10)) == {b"a": 5, b"b": 5}


@proves("REPL-003")
def test_an_instance_that_refuses_is_passed_over(tmp_path: Path) -> None:
    with server(says(b"a")) as a, balancer(tmp_path, gone=free_port(), here=a) as one:
        assert {one.ask() for _ in range(6)} == {b"a"}


@proves("REPL-004")
def test_a_change_of_the_file_counts_from_the_next_connection_on_and_old_ones_stay(tmp_path: Path) -> None:
    go_on = threading.Event()

    def patient(sock: socket.socket) -> None:
        sock.sendall(b"begun ")
        go_on.wait(10)
        sock.sendall(b"ended")

    with (
        server(patient) as old,
        server(says(b"new")) as new,
        balancer(tmp_path, old=old) as one,
        one.connect() as early,
    ):
        assert early.recv(6) == b"begun "
        one.backends({"new": new})
        assert {one.ask() for _ in range(4)} == {b"new"}
        go_on.set()
        assert everything(early) == b"ended"


@proves("REPL-005")
def test_a_connection_waits_up_to_a_second_for_an_instance(tmp_path: Path) -> None:
    with server(says(b"late")) as late, balancer(tmp_path) as one, one.connect() as early:
        early.settimeout(0.2)
        with pytest.raises(TimeoutError):
            early.recv(1)
        one.backends({"late": late})
        early.settimeout(10)
        assert everything(early) == b"late"


@proves("REPL-005")
def test_without_any_instance_a_connection_is_closed_after_that_second(tmp_path: Path) -> None:
    with balancer(tmp_path, gone=free_port()) as one:
        began = time.monotonic()
        assert one.ask() == b""
        assert program.HOLD_S <= time.monotonic() - began < program.HOLD_S + 2


def test_a_file_that_cannot_be_read_leaves_the_last_word_standing(tmp_path: Path) -> None:
    with server(says(b"a")) as a, balancer(tmp_path, a=a) as one:
        one.file.write_text("{", encoding="utf-8")
        assert one.ask() == b"a"
        one.file.unlink()
        assert one.ask() == b"a"


@proves("REPL-006")
def test_an_end_in_one_direction_leaves_the_other_open(tmp_path: Path) -> None:
    def digest(sock: socket.socket) -> None:
        sock.sendall(hashlib.sha256(everything(sock)).digest())

    with server(digest) as port, balancer(tmp_path, a=port) as one, one.connect() as sock:
        question = b"q" * 3_000_000
        sock.sendall(question)
        sock.shutdown(socket.SHUT_WR)
        assert everything(sock) == hashlib.sha256(question).digest()


@proves("REPL-006")
def test_megabytes_both_ways_at_once_arrive_whole(tmp_path: Path) -> None:
    data = bytes(range(256)) * 40_000

    def echo(sock: socket.socket) -> None:
        while part := sock.recv(1 << 16):
            sock.sendall(part)

    with server(echo) as port, balancer(tmp_path, a=port) as one, one.connect() as sock:

        def send() -> None:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)

        sending = threading.Thread(target=send)
        sending.start()
        assert everything(sock) == data
        sending.join()


@proves("REPL-006")
def test_a_slow_reader_holds_the_sender_back_instead_of_filling_memory(tmp_path: Path) -> None:
    sent, seen = Counter[str](), list[int]()

    def flood(sock: socket.socket) -> None:
        for _ in range(640):
            sock.sendall(b"x" * 100_000)
            sent["bytes"] += 100_000

    def stands_still() -> bool:
        seen.append(sent["bytes"])
        return len(seen) > 3 and len(set(seen[-3:])) == 1

    with server(flood) as port, balancer(tmp_path, a=port) as one, one.connect() as sock:
        before_kb = one.resident_kb()
        assert sock.recv(1) == b"x"
        eventually(stands_still, every_s=0.1)
        assert sent["bytes"] < 32_000_000
        assert one.resident_kb() - before_kb < 2_000
        assert len(everything(sock)) == 64_000_000 - 1


@proves("REPL-006")
def test_what_broke_on_one_side_does_not_look_like_a_proper_end_on_the_other(tmp_path: Path) -> None:
    def crash(sock: socket.socket) -> None:
        sock.recv(1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with server(crash) as port, balancer(tmp_path, a=port) as one, one.connect() as sock:
        sock.sendall(b"?")
        with pytest.raises(ConnectionResetError):
            everything(sock)


def test_a_crowd_at_once_is_served_by_a_small_process(tmp_path: Path) -> None:
    meet = threading.Barrier(100)

    def ask() -> bytes:
        with one.connect() as sock:
            meet.wait(20)
            sock.sendall(b"?")
            return everything(sock)

    def answer(sock: socket.socket) -> None:
        sock.recv(1)
        sock.sendall(b"!")

    with server(answer) as a, server(answer) as b, balancer(tmp_path, a=a, b=b) as one:
        with ThreadPoolExecutor(100) as crowd:
            assert [f.result() for f in [crowd.submit(ask) for _ in range(100)]] == [b"!"] * 100
        assert one.resident_kb() < 24_000
