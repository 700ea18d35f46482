"""How `aion` begins and ends: arguments in, exit code out.

Whatever happens on the way becomes one of the endings of the contract: a command's own exit code, an error in three
parts (on stdout too with `-o json`), 130 for an interruption. No traceback of our own code gets past here.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
import typer.main

from aion_cli import errors
from aion_cli.cli.app_operating import app
from aion_cli.cli.argv import Grammar, Hoisted, hoist
from aion_cli.cli.settings import OutputMode, Settings

# Typer's own usage errors, by the one public name that has them all as ancestors.
_TYPER_ERROR: type[Exception] = typer.BadParameter.__mro__[2]


def main(argv: Sequence[str] | None = None) -> int:
    """Run `aion` with these arguments (default: the process's), and return its exit code."""
    line = list(sys.argv[1:] if argv is None else argv)
    command: Any = typer.main.get_command(app)
    hoisted = hoist(line, _grammar(command))
    try:
        if not line and "_AION_COMPLETE" not in os.environ:  # by which a shell asks Typer for completions
            return _explain(command)
        if hoisted.incomplete:
            return _report(errors.UsageError(f"{hoisted.incomplete} needs a value"), hoisted)
        return int(command.main(hoisted.argv, prog_name="aion", standalone_mode=False) or 0)
    except _TYPER_ERROR as error:
        return _report(_usage_error(error), hoisted)
    except errors.AionError as error:
        return _report(error, hoisted, cause=error)
    except (KeyboardInterrupt, typer.Abort):  # before or after a command; `app` answers for commands
        return 130
    except Exception as error:  # noqa: BLE001 - the one boundary where a fault of ours becomes an error message
        return _report_unexpected(error, hoisted)


def _grammar(command: Any) -> Grammar:
    """Read off the app which options there are and which take a value."""

    def names(params: Sequence[Any], *, flags: bool) -> frozenset[str]:
        options = [param for param in params if param.param_type_name == "option"]
        return frozenset(
            name for option in options if option.is_flag is flags for name in (*option.opts, *option.secondary_opts)
        )

    return Grammar(
        flags=names(command.params, flags=True),
        valued=names(command.params, flags=False),
        commands={name: names(each.params, flags=False) for name, each in command.commands.items()},
    )


def _explain(command: Any) -> int:
    """Answer a bare `aion`: help for people, on stderr, because nothing was done."""
    with command.make_context("aion", [], resilient_parsing=True) as context:
        sys.stderr.write(command.get_help(context) + "\n")
    return 2


def _usage_error(error: Any) -> errors.UsageError:
    """Say what Typer complains about in our form."""
    message = str(error.format_message()).strip().rstrip(".")
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "aion"
    return errors.UsageError(message[:1].lower() + message[1:], hint=f"{path} --help shows what can be given")


def _report(error: errors.AionError, hoisted: Hoisted, *, cause: BaseException | None = None) -> int:
    """Write an error to stderr, and to stdout where a script reads; return its exit code."""
    render, output = _late("render"), _late("output")
    settings = _settings_for_errors(hoisted)
    color = output.stderr_takes_color(settings)
    output.write_stderr(render.error_text(error, settings, color=color))
    if cause is not None and settings.verbose:
        lines = _late("terminal").visible_lines("".join(traceback.format_exception(cause)))
        output.write_stderr("\n".join(lines))
    code = int(output.exit_code_of(error))
    if settings.output is not OutputMode.HUMAN and not output.has_written_a_document():
        try:
            output.write_json(output.masked_json(render.error_document(error, settings)))
        except (output.StdoutClosedError, errors.StoreError):
            _abandon_stdout()
    return code


def _report_unexpected(error: Exception, hoisted: Hoisted) -> int:
    if isinstance(error, _late("output").StdoutClosedError):
        _abandon_stdout()
        return int(_late("output").ExitCode.STDOUT_CLOSED)
    return _report(_late("render").InternalError.of(error), hoisted, cause=error)


def _settings_for_errors(hoisted: Hoisted) -> Settings:
    """Read what matters for the layout of an error straight off the command line: Typer may not have got that far."""
    output = hoisted.last_value("-o", "--output")
    return Settings(
        histories=Path(hoisted.last_value("--histories") or os.environ.get("AION_HISTORIES") or "histories"),
        workflows=Path(hoisted.last_value("--workflows") or os.environ.get("AION_WORKFLOWS") or "workflows"),
        output=OutputMode(output) if output in list(OutputMode) else OutputMode.HUMAN,
        verbose="-v" in hoisted.front or "--verbose" in hoisted.front,
        color="--no-color" not in hoisted.front and not os.environ.get("NO_COLOR"),
    )


def _abandon_stdout() -> None:
    """Keep the interpreter from complaining at its end about a stdout that is gone."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def _late(module: str) -> Any:
    return importlib.import_module(f"aion_cli.cli.{module}")
