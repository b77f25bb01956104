"""An agent that many crashes strike one after the other: what each leaves, the next one meets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.chaos.trial import Trial, at_work
from tests.support.survive import daemon_is_gone, kill_daemon
from tests.support.wait import eventually


class Standing:
    """Begins it when it is first needed, and anew after a test that failed."""

    def __init__(self, bystander: frozenset[int], **env: str) -> None:
        """`env`: see `at_work`."""
        self._bystander, self._env = bystander, env
        self._stack = ExitStack()
        self._trial: Trial | None = None

    @contextmanager
    def agent(self) -> Iterator[Trial]:
        """The agent, well; on leaving it must be whole."""
        if self._trial is not None and self._trial.host.agent("a")["lifecycle"] != "running":
            self._give_up()
        if self._trial is None:
            self._trial = self._stack.enter_context(at_work(self._bystander, **self._env))
        try:
            yield self._trial
            self._trial.assert_whole()
        except BaseException:
            self._give_up()
            raise

    def _give_up(self) -> None:
        self._trial = None
        broken = AssertionError("a test has broken it")
        self._stack.__exit__(type(broken), broken, None)

    def end(self) -> None:
        """Remove it: nothing may be left."""
        self._trial = None
        self._stack.close()


def cut_off(here: Trial, point: str, *words: str) -> None:
    """A daemon that dies at the point is asked to do something."""
    if not daemon_is_gone(here.host):
        kill_daemon(here.host)
    here.host.run(*words, env={"ENVMGR_CRASH_AT": point})
    eventually(lambda: daemon_is_gone(here.host), within_s=40)
