"""A thread that owns one connection and does what an event loop asks, many asks at a time.

Waking a thread costs nearly as much as a durable commit on a fast disk, so asks are handed over once per turn of the loop and
answered with one call back into it. What arrives while a batch is being done forms the next batch; nothing ever waits
for a batch to fill.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from envmgr.aio import blocking
from envmgr.errors import Unavailable

C = TypeVar("C")
T = TypeVar("T")


class Job(NamedTuple, Generic[C]):
    """A call somebody waits for."""

    # Any: the results of one batch are of as many types as there are callers.
    future: asyncio.Future[Any]
    call: Callable[[C], Any]


class Answer(NamedTuple):
    """What became of a job; `result` counts if there is no `error`."""

    future: asyncio.Future[Any]
    result: object = None
    error: Exception | None = None


class Lane(Generic[C]):
    """Belongs to the loop it was made in; call it from there only.

    Args:
        name: Of the thread.
        work: Does a batch and answers each job; runs in the thread and must not raise.
        close: Runs in the thread after the last batch.
    """

    def __init__(
        self, name: str, work: Callable[[Sequence[Job[C]]], Sequence[Answer]], *, close: Callable[[], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._work = work
        self._close = close
        self._asked: list[Job[C]] = []
        self._batches: queue.SimpleQueue[list[Job[C]] | None] = queue.SimpleQueue()
        self._is_open = True
        # A daemon: a process that forgets to close may still end; the store survives worse.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def ask(self, call: Callable[[C], T]) -> asyncio.Future[T]:
        """Have `call` run in the thread. Cancelling the future does not stop it.

        Raises:
            Unavailable: The lane is closed.
        """
        if not self._is_open:
            raise Unavailable(
                "the store is closed", hint="envmgr is shutting down; try again when it is back."
            )
        future: asyncio.Future[T] = self._loop.create_future()
        if not self._asked:
            self._loop.call_soon(self._hand_over)
        self._asked.append(Job(future, call))
        return future

    async def close(self) -> None:
        """Finish what was asked, then end the thread. May be called twice."""
        if self._is_open:
            self._is_open = False
            self._hand_over()
            self._batches.put(None)
        await blocking.act("file", self._thread.join)

    def _hand_over(self) -> None:
        if self._asked:
            self._batches.put(self._asked)
            self._asked = []

    def _run(self) -> None:
        try:
            while batch := self._next_batch():
                answers = self._work(batch)
                self._loop.call_soon_threadsafe(_deliver, answers)
        except RuntimeError:
            # The loop was closed and the store was not: nobody is left to answer.
            if not self._loop.is_closed():
                raise
        finally:
            self._close()

    def _next_batch(self) -> list[Job[C]]:
        """All that was asked by now, at least one job; empty at the end."""
        batch = self._batches.get()
        if batch is None:
            return []
        while not self._batches.empty():
            more = self._batches.get()
            if more is None:
                self._batches.put(None)
                break
            batch += more
        return batch


def _deliver(answers: Sequence[Answer]) -> None:
    for future, result, error in answers:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
