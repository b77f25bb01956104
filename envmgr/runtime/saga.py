"""Run steps that can be taken back.

Steps come in stages; the steps of one stage run side by side. The journal is written before a stage
starts and after it ends, so that a crash at any instruction leaves a trail of what may exist. On any
failure every *started* step is undone, newest first, shielded from cancellation.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import anyio

from envmgr.errors import EnvmgrError
from envmgr.model.lease import StepRecord, StepState

log = logging.getLogger(__name__)

Receipt = Mapping[str, object]
Stage = Sequence["Step"]


class Step(Protocol):
    """One thing a spawn makes, with the way to unmake it."""

    name: str
    makes_nothing: bool = False
    """It only looks or waits: there is nothing to undo."""

    async def do(self) -> Receipt:
        """Make it. Safe to call again after an unknown outcome."""

    async def undo(self, receipt: Receipt | None) -> None:
        """Unmake it, also when `do` never returned (None) or made nothing."""


class Journal(Protocol):
    """The durable trail of one generation."""

    async def write(self, records: Sequence[StepRecord]) -> None:
        """Store all of them in one commit."""


class StepFailed(Exception):
    """A step failed; the started ones were undone, save `leaked`. The first error is `__cause__`."""

    def __init__(self, step: str, *, leaked: Mapping[str, str]) -> None:
        super().__init__(step)
        self.step = step
        self.leaked = leaked


def never(point: str) -> None:
    """The crash point of production: nothing happens."""


class Saga:
    """One run over the stages of a spawn."""

    def __init__(
        self, journal: Journal, *, undo_s: float = 60.0, reach: Callable[[str], None] = never
    ) -> None:
        """`undo_s`: seconds allowed for each undo. `reach` is called at each named crash point."""
        self._journal = journal
        self._undo_s = undo_s
        self._reach = reach
        self._begun: list[Step] = []
        self._receipts: dict[str, Receipt] = {}
        self._failure: tuple[str, Exception] | None = None

    async def run(self, stages: Sequence[Stage]) -> Mapping[str, Receipt]:
        """Do every stage in order; returns the receipts by step name.

        Raises:
            StepFailed: After the undo.
        """
        finished: list[StepRecord] = []
        try:
            for stage in stages:
                started = [self._begin(step) for step in stage]
                await self._enter(stage, [*finished, *started])
                self._reach(f"after-{stage[0].name}")
                finished = [self._record(step, StepState.FINISHED) for step in stage]
            await self._journal.write(finished)
        except BaseException as error:
            leaked = await self.undo(self._begun)
            if self._failure is not None:
                step, cause = self._failure
                raise StepFailed(step, leaked=leaked) from cause
            if isinstance(error, Exception):
                raise StepFailed("journal", leaked=leaked) from error
            raise  # cancellation keeps its own type
        return self._receipts

    async def _enter(self, stage: Stage, records: Sequence[StepRecord]) -> None:
        """Journal, then do; side by side where the stage makes nothing that a crash could leave."""
        if not all(step.makes_nothing for step in stage):
            await self._journal.write(records)
            self._reach(f"before-{stage[0].name}")
            await self._do(stage)
            return
        async with anyio.create_task_group() as group:
            group.start_soon(self._journal.write, records)
            self._reach(f"before-{stage[0].name}")
            await self._do(stage)

    def _begin(self, step: Step) -> StepRecord:
        self._begun.append(step)
        return self._record(step, StepState.STARTED)

    def _record(self, step: Step, state: StepState, error: str = "") -> StepRecord:
        return StepRecord(
            step=step.name,
            order=self._begun.index(step) if step in self._begun else 0,
            state=state,
            receipt=self._receipts.get(step.name),
            error=error,
        )

    async def _do(self, stage: Stage) -> None:
        if len(stage) == 1:
            await self._one(stage[0])
            return
        try:
            async with anyio.create_task_group() as group:
                for step in stage:
                    group.start_soon(self._one, step)
        except* Exception:  # the first failure is kept in _failure; siblings only echo it
            if self._failure is None:
                raise
        if self._failure is not None:
            raise self._failure[1]

    async def _one(self, step: Step) -> None:
        try:
            self._receipts[step.name] = await step.do()
        except Exception as error:
            self._failure = self._failure or (step.name, error)
            raise

    async def undo(
        self, begun: Sequence[Step], receipts: Mapping[str, Receipt] | None = None
    ) -> Mapping[str, str]:
        """Undo steps newest first; returns what could not be undone, by step name, with the reason.

        Also used after a crash, with the receipts of the journal.
        """
        self._begun = list(begun)
        self._receipts.update(receipts or {})
        leaked: dict[str, str] = {}
        with anyio.CancelScope(shield=True):
            for step in reversed(self._begun):
                reason = await self._undo_one(step)
                state = StepState.LEAKED if reason else StepState.UNDONE
                if reason:
                    leaked[step.name] = reason
                await self._note(self._record(step, state, reason))
                self._reach(f"undone-{step.name}")
        return leaked

    async def _note(self, record: StepRecord) -> None:
        """Journal the end of an undo. If that fails the trail says too much: the undo is done once more at the next start."""
        try:
            await self._journal.write([record])
        except Exception:  # the other undos must still run
            log.exception("undo not journaled", extra={"step": record.step})

    async def _undo_one(self, step: Step) -> str:
        with anyio.move_on_after(self._undo_s):
            try:
                await step.undo(self._receipts.get(step.name))
            except EnvmgrError as error:
                return error.message
            except Exception as error:  # noqa: BLE001 - the other undos must still run; what is left is named
                return f"{type(error).__name__}: {error}"
            return ""
        return f"its undo did not end within {self._undo_s:g} s"
