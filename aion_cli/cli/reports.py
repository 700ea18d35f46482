"""Verdicts for CI: a JUnit file, and annotations in the form of GitHub's workflow commands.

Everything that stands in either passes through `terminal.visible`, so a history cannot smuggle in a line of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from aion_cli.cli import render
from aion_cli.cli.settings import Settings
from aion_cli.cli.terminal import visible, visible_lines
from aion_cli.cli.verdicts import Case, Finding
from aion_cli.errors import AionError, NonDeterminismError, StoreError

_NOT_IN_XML = {0xFFFE: "\\ufffe", 0xFFFF: "\\uffff"}


class JUnitFile:
    """A file that CI shows as a suite of tests, one a history. Opened at once: a place that refuses is told first."""

    def __init__(self, path: Path) -> None:
        """Raises StoreError if the file cannot be written."""
        self._path = path
        try:
            self._file = path.open("w", encoding="utf-8")
        except OSError as error:
            raise self._refused(error) from error

    def write(self, cases: Sequence[Case], settings: Settings) -> None:
        """Write the whole suite, and close the file. Raises StoreError."""
        failures = sum(case.verdict.verdict is Finding.DIVERGED for case in cases)
        broken = sum(case.error is not None for case in cases) - failures
        seconds = sum(case.seconds for case in cases)
        try:
            with self._file as file:
                file.write('<?xml version="1.0" encoding="UTF-8"?>\n')
                counts = f'tests="{len(cases)}" failures="{failures}" errors="{broken}" time="{seconds:.3f}"'
                file.write(f'<testsuites {counts}>\n<testsuite name="aion replay" {counts}>\n')
                file.writelines(_case(case, settings) for case in cases)
                file.write("</testsuite>\n</testsuites>\n")
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> StoreError:
        return StoreError(f"cannot write {self._path}: {error.strerror}", hint="--junit names the file to write")


def _case(case: Case, settings: Settings) -> str:
    verdict, error = case.verdict, case.error
    head = f'<testcase classname={_attribute("aion.replay")} name={_attribute(verdict.run)} time="{case.seconds:.3f}"'
    if error is None:
        return f"{head}/>\n"
    tag = "failure" if verdict.verdict is Finding.DIVERGED else "error"
    text = escape(_valid(render.error_text(error, settings)))
    kind = f"type={_attribute(error.code)} message={_attribute(error.message)}"
    return f"{head}>\n<{tag} {kind}>{text}</{tag}>\n</testcase>\n"


def _attribute(text: str) -> str:
    return quoteattr(_valid(visible(text)))


def _valid(text: str) -> str:
    return text.translate(_NOT_IN_XML)


def annotation(error: AionError, settings: Settings) -> str:
    """Return the workflow command that makes GitHub show an error at its file and line.

    For a divergence that is the line of the workflow; for other errors the first place that they name.
    """
    place = error.source if isinstance(error, NonDeterminismError) else next(iter(error.where), "")
    file, _, line = place.rpartition(":")
    if not line.isdigit():
        file, line = place, ""
    properties = [f"title={_property(f'aion replay: {error.code}')}"]
    if line:
        properties.insert(0, f"line={line}")
    if file:
        properties.insert(0, f"file={_property(file)}")
    message = "%0A".join(_data(part) for part in visible_lines(render.error_text(error, settings)))
    return f"::error {','.join(properties)}::{message}"


def _data(text: str) -> str:
    return text.replace("%", "%25")


def _property(text: str) -> str:
    return _data(visible(text)).replace(":", "%3A").replace(",", "%2C")
