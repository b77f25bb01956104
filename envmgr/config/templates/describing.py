"""What keys are for, as the docstrings of their attributes say.

Read when somebody asks for it: pydantic would do it with every import, and parsing sources is a tenth of the daemon's start.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any, get_args

from envmgr.config.fields import Strict
from envmgr.config.templates.schema import Document


@cache
def described() -> type[Document]:
    """The format, whose keys have descriptions from now on, at all depths."""
    _describe(Document, set())
    return Document


def _describe(model: type[Strict], seen: set[type[Strict]]) -> None:
    """Inner models first: a model's schema is put together from theirs."""
    if model in seen:
        return
    seen.add(model)
    for field in model.model_fields.values():
        for inner in _models(field.annotation):
            _describe(inner, seen)
    texts = texts_of(model)
    for name, field in model.model_fields.items():
        field.description = field.description or texts.get(name)
    model.model_rebuild(force=True)


def _models(annotation: Any) -> Iterator[type[Strict]]:  # Any: a type hint
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def texts_of(model: type[Strict]) -> dict[str, str]:
    """What the docstrings of a model's attributes say, by name; an attribute without one is left out."""
    return {name: text for base in reversed(model.__mro__) for name, text in _docstrings(base).items()}


def _docstrings(kind: type) -> dict[str, str]:
    """Of the attributes that this class itself declares."""
    body = _bodies(kind.__module__).get(kind.__name__, []) if issubclass(kind, Strict) else []
    found: dict[str, str] = {}
    for statement, following in pairwise(body):
        match statement, following:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str() as text)),
            ):
                found[name] = inspect.cleandoc(text)
    return found


@cache
def _bodies(module: str) -> dict[str, list[ast.stmt]]:
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    return {node.name: node.body for node in tree.body if isinstance(node, ast.ClassDef)}
