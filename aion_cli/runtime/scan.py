"""Which workflows a file defines, found by reading it, not by importing it.

Nothing of the file is run, so a file that cannot be imported, or that a stranger wrote, does no harm. What is found are
functions at the top of a module (also below `if` and `try`) with `@workflow`, however it was imported. A name that is
computed (`name=PREFIX + "x"`) is not found; such a workflow is reached through its file.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

_PACKAGE = "aion_cli"
_DECORATOR = "workflow"


class Found(NamedTuple):
    """A workflow in a file. name: as registered. function: its name in the module. line: of its `def`."""

    file: Path
    name: str
    function: str
    line: int


def workflow_files(folder: Path) -> list[Path]:
    """Return the Python files directly in a folder, by name; none if there is no such folder."""
    try:
        return sorted(p for p in folder.iterdir() if p.suffix == ".py" and p.is_file() and not p.name.startswith("."))
    except OSError:
        return []


def scan_folder(folder: Path) -> list[Found]:
    """Return the workflows that the files of a folder define. Files that are not Python define none."""
    return [found for file in workflow_files(folder) for found in scan_file(file)]


def scan_file(file: Path) -> list[Found]:
    """Return the workflows that a file defines, in their order; none if it is not Python or cannot be read."""
    try:
        return list(_workflows(file, _parsed(file)))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def broken_line(file: Path) -> int:
    """Return the line of the syntax error because of which nothing can be found in a file; 0 if it has none."""
    try:
        _parsed(file)
    except SyntaxError as error:
        return error.lineno or 1
    except (OSError, ValueError, RecursionError, MemoryError):
        pass
    return 0


def _parsed(file: Path) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an invalid escape in someone's file is not ours to report
        return ast.parse(file.read_bytes(), str(file))


def _workflows(file: Path, tree: ast.Module) -> Iterator[Found]:
    statements = list(_top_statements(tree.body))
    decorators = _decorator_names(statements)
    for statement in statements:
        if isinstance(statement, ast.AsyncFunctionDef | ast.FunctionDef):
            for decorator in statement.decorator_list:
                call = decorator.func if isinstance(decorator, ast.Call) else decorator
                if _dotted(call) in decorators:
                    name = _registered_name(decorator, statement.name)
                    if name:
                        yield Found(file, name, statement.name, statement.lineno)
                    break


def _top_statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module, with those inside `if`, `try` and `with`."""
    for statement in body:
        yield statement
        match statement:
            case ast.If(body=inner, orelse=other):
                yield from _top_statements([*inner, *other])
            case ast.Try(body=inner, handlers=handlers, orelse=other, finalbody=final):
                caught = [s for handler in handlers for s in handler.body]
                yield from _top_statements([*inner, *caught, *other, *final])
            case ast.With(body=inner):
                yield from _top_statements(inner)
            case _:
                pass


def _decorator_names(statements: Iterable[ast.stmt]) -> frozenset[str]:
    """Return every spelling of the decorator in a module: `workflow`, `aion_cli.workflow`, or as imported."""
    names: set[str] = set()
    for statement in statements:
        match statement:
            case ast.Import(names=imported):
                for alias in imported:
                    if alias.name == _PACKAGE:
                        names.add(f"{alias.asname or alias.name}.{_DECORATOR}")
                    elif alias.name.startswith(f"{_PACKAGE}."):
                        bound = alias.asname or alias.name
                        names.update((f"{bound}.{_DECORATOR}", f"{alias.asname or _PACKAGE}.{_DECORATOR}"))
            case ast.ImportFrom(module=str(module), level=0, names=imported) if module.split(".")[0] == _PACKAGE:
                for alias in imported:
                    if alias.name in (_DECORATOR, "*"):
                        names.add(alias.asname or _DECORATOR)
            case _:
                pass
    return frozenset(names)


def _dotted(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            return f"{_dotted(value)}.{attr}"
        case _:
            return ""


def _registered_name(decorator: ast.expr, function: str) -> str:
    """Return the name that `@workflow` or `@workflow(name="…")` registers; empty if it is computed."""
    if isinstance(decorator, ast.Call):
        for keyword in decorator.keywords:
            if keyword.arg == "name":
                value = keyword.value.value if isinstance(keyword.value, ast.Constant) else ""
                return function if value is None else value if isinstance(value, str) else ""
    return function
