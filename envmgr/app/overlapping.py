"""Whether lock targets overlap: asked before anybody locks anything. Needs no daemon."""

from __future__ import annotations

import json
from typing import Annotated, Any

import anyio
import anyio.lowlevel
from pydantic import Field, model_validator

from envmgr.app.context import App
from envmgr.app.operations import operation
from envmgr.app.shapes import Ask, View, argument
from envmgr.core.overlap import overlap
from envmgr.core.targets import MAX_CHARS, parse_target
from envmgr.errors import UsageError
from envmgr.model.principal import Scope

MOST_PAIRS = 1000
_AT_ONCE = 20
_LONGEST = 100_000  # a pair that is wrong says so itself, instead of taking the others along

_Text = Annotated[str, Field(max_length=_LONGEST)]


class Pair(Ask):
    """Two targets; as JSON also `["a", "b"]`."""

    a: _Text
    b: _Text

    @model_validator(mode="before")
    @classmethod
    def _of_list(cls, given: Any) -> Any:  # Any: not checked yet
        return dict(zip("ab", given, strict=True)) if isinstance(given, list) and len(given) == 2 else given


class Overlaps(Ask):
    """Which targets: two, or pairs of them."""

    targets: list[Annotated[str, Field(max_length=MAX_CHARS)]] = argument(
        "Two targets, such as `src/**/*.py` and `src/api`; `-` reads pairs as JSON lines",
        default=[],
        max_length=2,
    )
    pairs: list[Pair] = Field(
        default=[],
        max_length=MOST_PAIRS,
        description='Pairs, each {"a": TARGET, "b": TARGET} or [TARGET, TARGET]',
    )


class PairView(View):
    """One answer.

    Attributes:
        a, b: In normal form; as they were given when they are no targets.
        overlaps: Whether they have something in common; null when one of them is no target.
        witness: A path or key that both match.
        error: Why there is no answer.
    """

    a: str
    b: str
    overlaps: bool | None
    witness: str | None = None
    error: str | None = None


class OverlapsView(View):
    """All answers, in the order of the questions. `overlaps` and `witness` are those of the first that has any."""

    ok: bool = True
    overlaps: bool
    witness: str | None = None
    pairs: list[PairView]


def _text(result: OverlapsView) -> str:
    if len(result.pairs) > 1:
        return "".join(json.dumps(pair.model_dump(exclude_none=True)) + "\n" for pair in result.pairs)
    return f"they overlap: {result.witness}\n" if result.overlaps else "they do not overlap\n"


@operation(
    "lock.overlaps",
    route="POST /api/v1/locks/overlaps",
    gives=OverlapsView,
    text=lambda result, style: _text(result),
    command="lock overlaps",
    is_local=True,
    status=lambda result: 0 if result.overlaps else 1,
    scope=Scope.LOCKS,
)
async def overlaps(ask: Overlaps, app: App) -> OverlapsView:
    """Tell whether two lock targets overlap, with a path or key that both match.

    Exits with 0 when they do and with 1 when they do not. `lock overlaps < pairs.jsonl`, or with `-`, reads pairs from standard input, one in each line
    (`["src/*", "src/a.py"]` or `{"a": ..., "b": ...}`), prints a line of JSON for each in the same order, and exits with 0; with
    2 when lines were wrong, which have an `error`.
    """
    if len(ask.targets) not in (0, 2) or bool(ask.targets) == bool(ask.pairs):
        raise UsageError(
            "two targets are compared",
            hint="Say `envmgr lock overlaps 'src/*.py' src/api`, or `-` and give pairs as JSON lines on standard input.",
        )
    if ask.targets:
        a, b = map(parse_target, ask.targets)
        witness = overlap(a, b)
        answers = [PairView(a=a.text, b=b.text, overlaps=witness is not None, witness=witness)]
    else:
        answers = []
        for number, pair in enumerate(ask.pairs):
            answers.append(_answer(pair))
            if number % _AT_ONCE == 0:  # a pair may take 3 ms, and others want to be answered, too
                await anyio.lowlevel.checkpoint()
    hit = next((answer for answer in answers if answer.overlaps), None)
    return OverlapsView(overlaps=hit is not None, witness=hit.witness if hit else None, pairs=answers)


def _answer(pair: Pair) -> PairView:
    try:
        a, b = parse_target(pair.a), parse_target(pair.b)
    except UsageError as error:
        return PairView(a=pair.a[:MAX_CHARS], b=pair.b[:MAX_CHARS], overlaps=None, error=error.message)
    witness = overlap(a, b)
    return PairView(a=a.text, b=b.text, overlaps=witness is not None, witness=witness)
