"""From what a user or a history names to a workflow definition.

A file is imported under its stem as module name, with its own folder first on `sys.path`, so its neighbours can be
imported and are the same modules for everyone. What there is to choose from is found by reading the files
(`runtime.scan`); only the file that was chosen is imported, so a broken neighbour harms nobody.

A history is data, perhaps a stranger's: what it names is imported from the workflows folder, or from the recorded file
if that lies below the current directory and still defines the workflow, and from nowhere else.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Generator, Iterable, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, cast

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.core.source import SourcePaths
from aion_cli.errors import AionError, WorkflowCodeError
from aion_cli.runtime.scan import broken_line, scan_file, scan_folder, workflow_files

Workflow = WorkflowDefinition[..., Any]

_OWN = str(Path(__file__).parents[1])


def load_target(target: str, workflows_dir: Path, cwd: Path) -> Workflow:
    """Return the workflow that TARGET names: `name`, `file.py`, `file.py:name` or `package.module:name`.

    Raises WorkflowCodeError if there is none, or more than one, or if its file cannot be imported. KeyboardInterrupt
    passes, since the user wants to stop; the half-imported module is dropped.
    """
    head, colon, name = target.rpartition(":")
    if target.endswith(".py"):
        return _of_file(_find_file(target, workflows_dir, cwd), "", cwd)
    if colon and head and name:
        if head.endswith(".py"):
            return _of_file(_find_file(head, workflows_dir, cwd), name, cwd)
        return _pick(_import_dotted(head, workflows_dir, cwd), name, head)
    return _by_name(target, workflows_dir, cwd)


def load_for_type(target: str, workflow_type: str, workflows_dir: Path, cwd: Path) -> Workflow:
    """Return the workflow that TARGET names for a recorded run: of a file without a name, the one of its type.

    Otherwise as load_target, so that a workflow may have been renamed since. Raises WorkflowCodeError.
    """
    if target.endswith(".py"):
        module = _import_file(_find_file(target, workflows_dir, cwd), cwd)
        if any(known.name == workflow_type for known in _own_workflows(module)):
            return _pick(module, workflow_type, target)
    return load_target(target, workflows_dir, cwd)


_HIDDEN = "; a syntax error hides what is defined in the file above"


def load_registered(workflow_type: str, workflows_dir: Path, cwd: Path) -> Workflow:
    """Return the workflow that is registered under a name in the workflows folder. Raises WorkflowCodeError."""
    files = _files_defining(workflow_type, workflows_dir)
    if not files:
        raise _unknown(workflow_type, workflows_dir)
    return _of_file(_only(workflow_type, files), workflow_type, cwd)


def load_for_history(workflow_type: str, recorded_file: str, workflows_dir: Path, cwd: Path) -> Workflow:
    """Return the code of a recorded run.

    recorded_file: the path that the history holds, relative to cwd or absolute; empty if it holds none. If several
    files of the workflows folder define the type, the recorded one is taken. Raises WorkflowCodeError if there is no
    code, or if its file cannot be imported.
    """
    files = _files_defining(workflow_type, workflows_dir)
    recorded = _below(recorded_file, cwd)
    if len(files) > 1 and recorded is not None:
        files = [file for file in files if file.resolve() == recorded] or files
    if files:
        return _of_file(_only(workflow_type, files), workflow_type, cwd)
    if recorded is not None and any(found.name == workflow_type for found in scan_file(recorded)):
        return _of_file(recorded, workflow_type, cwd)
    if recorded is not None and broken_line(recorded):
        return _of_file(recorded, workflow_type, cwd)  # which tells what is wrong with it
    raise WorkflowCodeError(
        f"there is no code for workflow {workflow_type}: {workflows_dir} does not define it"
        + (f", nor does {recorded_file} below {cwd}" if recorded_file else ""),
        where=(broken := _broken_places(workflows_dir)),
        hint="name it: --workflow TARGET" + (_HIDDEN if broken else ""),
    )


def digest_of(file: Path) -> str:
    """Return "sha256:" and the hexadecimal digest of a file's bytes; empty if it cannot be read."""
    try:
        return "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def _find_file(name: str, workflows_dir: Path, cwd: Path) -> Path:
    """Look a file up from the current directory, then in the workflows folder."""
    for folder in (cwd, workflows_dir):
        with contextlib.suppress(OSError, ValueError):
            if (file := folder / name).is_file():
                return _absolute(file, cwd)
    raise WorkflowCodeError(
        f"there is no file {name}", hint=f"looked in {cwd} and {workflows_dir}" if not Path(name).is_absolute() else ""
    )


def _by_name(name: str, workflows_dir: Path, cwd: Path) -> Workflow:
    """Find a workflow by its registered name or its file's stem."""
    registered = _files_defining(name, workflows_dir)
    stems = [file for file in workflow_files(workflows_dir) if file.stem == name]
    if registered:
        stems = [file for file in stems if scan_file(file)]  # a namesake without workflows is no rival
    files = list(dict.fromkeys([*stems, *registered]))
    if not files:
        raise _unknown(name, workflows_dir)
    return _of_file(_only(name, files), name if registered else "", cwd)


def _files_defining(workflow_type: str, workflows_dir: Path) -> list[Path]:
    return list(dict.fromkeys(found.file for found in scan_folder(workflows_dir) if found.name == workflow_type))


def _only(name: str, files: Sequence[Path]) -> Path:
    if len(files) == 1:
        return files[0]
    targets: list[str] = []
    places: list[str] = []
    for file in files:
        found = scan_file(file)
        lines = [f.line for f in found if f.name == name]
        targets.append(f"{file}:{name}" if lines else str(file))
        places.append(f"{file}:{lines[0] if lines else found[0].line if found else 1}")
    raise WorkflowCodeError(
        f"{len(files)} files define a workflow {name}: {', '.join(map(str, files))}",
        where=places,
        hint=f"name one: {' or '.join(targets)}",
    )


def _unknown(name: str, workflows_dir: Path) -> WorkflowCodeError:
    found, broken = scan_folder(workflows_dir), _broken_places(workflows_dir)
    known = sorted({f.name for f in found} | {f.file.stem for f in found})
    if known:
        message, hint = f"there is no workflow {name or repr(name)}", f"there are: {', '.join(known)}"
    else:
        message = f"there is no workflow {name}: {workflows_dir} holds none"
        hint = "name a file.py, or set --workflows DIR"
    return WorkflowCodeError(message, where=broken, hint=hint + (_HIDDEN if broken else ""))


def _broken_places(workflows_dir: Path) -> tuple[str, ...]:
    """Name the files of which nobody can say what they define, since they are no Python."""
    lines = [(file, broken_line(file)) for file in workflow_files(workflows_dir)]
    return tuple(f"{file}:{line}" for file, line in lines if line)


def _below(recorded_file: str, cwd: Path) -> Path | None:
    """Return where a recorded file really is, if it is a Python file below the current directory."""
    if not recorded_file.endswith(".py"):
        return None
    try:
        file = (cwd / recorded_file).resolve(strict=True)
        return file if file.is_file() and file.suffix == ".py" and file.is_relative_to(cwd.resolve()) else None
    except (OSError, ValueError, RuntimeError):
        return None


def _of_file(file: Path, name: str, cwd: Path) -> Workflow:
    return _pick(_import_file(_absolute(file, cwd), cwd), name, SourcePaths(str(cwd.absolute())).shorten(str(file)))


def _pick(module: ModuleType, name: str, source: str) -> Workflow:
    """Choose from the workflows that a module defines itself: the named one, or the only one."""
    own = _own_workflows(module)
    chosen = own
    if name:
        chosen = [d for d in own if d.name == name] or _workflows([getattr(module, name, None)])
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(sorted(d.name for d in own))
    if len(chosen) > 1:
        places = tuple(f"{d.file}:{d.line}" for d in chosen)
        if name:
            raise WorkflowCodeError(f"{source} defines workflow {name} more than once", where=places)
        raise WorkflowCodeError(
            f"{source} defines {len(own)} workflows: {names}", where=places, hint=f"name one: {source}:{own[0].name}"
        )
    if own:
        raise WorkflowCodeError(f"{source} defines no workflow {name}", hint=f"it defines: {names}")
    raise WorkflowCodeError(
        f"{source} defines no workflow", hint="decorate an `async def` function with `@workflow` from aion_cli"
    )


def _own_workflows(module: ModuleType) -> list[Workflow]:
    own = {id(d): d for d in _workflows(vars(module).values()) if d.module == module.__name__}
    return sorted(own.values(), key=lambda d: d.line)


def _workflows(values: Iterable[Any]) -> list[Workflow]:
    return [cast("Workflow", value) for value in values if isinstance(value, WorkflowDefinition)]


def _absolute(file: Path, cwd: Path) -> Path:
    path = cwd / file
    return path.parent.resolve() / path.name


def _import_file(file: Path, cwd: Path) -> ModuleType:
    """Import a file under its stem, or return the module if it was imported already."""
    stem = file.stem
    known = sys.modules.get(stem)
    if known is not None and _is_from(known, file):
        return known
    if known is not None or stem in sys.stdlib_module_names:
        origin = getattr(known, "__file__", None) or "Python's standard library"
        raise WorkflowCodeError(
            f"{file} cannot be imported as `{stem}`: that is the name of another module ({origin})",
            where=(f"{file}:1",),
            hint="rename the file",
        )
    _put_first(str(file.parent))
    loader = _SourceLoader(stem, str(file))
    spec = importlib.util.spec_from_file_location(stem, file, loader=loader)
    assert spec is not None, "a spec with a loader is always made"
    module = importlib.util.module_from_spec(spec)
    sys.modules[stem] = module
    with _guarded(str(file), stem, cwd):
        loader.exec_module(module)
    return module


def _import_dotted(name: str, workflows_dir: Path, cwd: Path) -> ModuleType:
    """Import a module by its dotted name, from the current directory or wherever Python finds it."""
    if not all(part.isidentifier() for part in name.split(".")):
        raise WorkflowCodeError(f"{name} is neither a file.py nor the name of a module")
    _put_first(str(cwd.absolute()))
    try:
        with _guarded(name, name, cwd):
            return importlib.import_module(name)
    except WorkflowCodeError as error:
        if (workflows_dir / f"{name}.py").is_file():
            error.hint = f"{workflows_dir / name}.py is a file: write {name}.py:NAME"
        raise


@contextlib.contextmanager
def _guarded(source: str, module_name: str, cwd: Path) -> Generator[None]:
    """Import something inside: its prints go to stderr, and whatever it raises becomes a WorkflowCodeError."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except BaseException as error:  # code at the top of a file may raise anything, SystemExit included
        sys.modules.pop(module_name, None)
        if isinstance(error, KeyboardInterrupt):
            raise
        raise _import_failure(error, source, module_name, SourcePaths(str(cwd.absolute()))) from None


def _import_failure(error: BaseException, source: str, module_name: str, paths: SourcePaths) -> WorkflowCodeError:
    source = paths.shorten(source)
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{paths.shorten(error.filename)}:{error.lineno or 1}"
        return WorkflowCodeError(f"{source} cannot be imported: {type(error).__name__}: {error.msg}", where=(place,))
    if isinstance(error, AionError):
        place = paths.raised_at(error)
        return WorkflowCodeError(error.message, where=error.where or ((place,) if place else ()), hint=error.hint)
    if isinstance(error, ModuleNotFoundError) and error.name and f"{module_name}.".startswith(f"{error.name}."):
        return WorkflowCodeError(
            f"there is no module {error.name}", hint="run from the folder that holds it, or install it"
        )
    place = paths.raised_at(error)
    hint = f"install {error.name}, or put it beside the file" if isinstance(error, ModuleNotFoundError) else ""
    return WorkflowCodeError(
        f"{source} cannot be imported: {_summary(error)}",
        trace=_trimmed_trace(error),
        where=(place,) if place else (),
        hint=hint,
    )


def _summary(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it exits ({error.code if error.code is not None else 0}) while it is imported"
    return traceback.format_exception_only(error)[0].splitlines()[0]


def _trimmed_trace(error: BaseException) -> str:
    """Write a traceback without the frames of aion and of the import machinery."""
    whole = traceback.TracebackException.from_exception(error)
    pending: list[traceback.TracebackException | None] = [whole]
    while pending:
        part = pending.pop()
        if part is not None:
            kept = [f for f in part.stack if not f.filename.startswith((_OWN, "<frozen "))]
            part.stack = traceback.StackSummary.from_list(kept)
            pending += [part.__cause__, part.__context__]
    return "".join(whole.format()).rstrip()


def _is_from(module: ModuleType, file: Path) -> bool:
    origin = getattr(module, "__file__", None)
    try:
        return bool(origin) and file.samefile(str(origin))
    except OSError:
        return False


class _SourceLoader(SourceFileLoader):
    """Compiles the source that is there now. A cached .pyc is matched by whole seconds, and may be older."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


class _StandardLibraryFirst:
    """Finds standard modules before a workflows folder is searched, where a file may have the same name."""

    def __init__(self) -> None:
        self.folders: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is not None or fullname not in sys.stdlib_module_names:
            return None
        return PathFinder.find_spec(fullname, [entry for entry in sys.path if entry not in self.folders], target)


_standard_first = _StandardLibraryFirst()


def _put_first(folder: str) -> None:
    """Put a folder first on sys.path, without letting its files stand in for standard modules."""
    if _standard_first not in sys.meta_path:
        before = next((i for i, finder in enumerate(sys.meta_path) if finder is PathFinder), len(sys.meta_path))
        sys.meta_path.insert(before, _standard_first)
    if sys.path[:1] != [folder]:
        if folder in _standard_first.folders and folder in sys.path:
            sys.path.remove(folder)
        sys.path.insert(0, folder)
    _standard_first.folders.add(folder)
    importlib.invalidate_caches()
