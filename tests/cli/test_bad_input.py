"""Bad input of every kind: one clear error, the exit code of the contract, and nothing left behind.

What is told is checked to the last character, because it is all that a user has.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from aion_cli.core import events as ev
from tests.builders import started
from tests.cli.support import PREAMBLE, Project
from tests.storage import create

ORDER = """
    import msgspec

    approval = Signal("approval", bool)

    class Line(msgspec.Struct):
        sku: str
        cents: int

    class Order(msgspec.Struct):
        lines: list[Line]
        note: str = ""

    @activity
    def charge(order: Order) -> str:
        note("charge")
        return "r1"

    @workflow
    async def order(order: Order) -> str:
        await charge(order)
        await approval.receive()
        return "done"

    @workflow
    async def hello(name: str, times: int = 1) -> str:
        return name * times
"""
GOOD = '{"lines":[{"sku":"A1","cents":5}]}'
ORDER_AT, HELLO_AT = "<order>", "<hello>"  # where the two are defined, put in by the test


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.write(ORDER)
    return made


class Bad(NamedTuple):
    """What is typed after `run`, and what stderr then is, with the exit code 2."""

    name: str
    typed: list[str]
    stderr: str


INPUTS = [
    Bad(
        "malformed",
        ["order", "--input", "{lines: []}"],
        "error[usage]: --input is not JSON: object keys must be strings at line 1, column 2\n"
        "  at --input:1:2\n"
        '  hint: quote it for the shell: --input \'{"key": "text"}\'\n',
    ),
    Bad(
        "cut off",
        ["order", "--input", '{"lines": ['],
        "error[usage]: --input is not JSON: it ends too early at line 1, column 12\n  at --input:1:12\n",
    ),
    Bad(
        "a text without its quotes",
        ["hello", "--input", "Ada"],
        "error[usage]: --input is not JSON: invalid character at line 1, column 1\n"
        "  at --input:1:1\n"
        "  hint: text needs its own quotes inside the shell's: --input '\"…\"'\n",
    ),
    Bad(
        "NaN",
        ["order", "--input", '{"lines": NaN}'],
        "error[usage]: --input is not JSON: invalid character at line 1, column 11\n"
        "  at --input:1:11\n"
        "  hint: JSON has neither NaN nor infinities; pass null or a text instead\n",
    ),
    Bad(
        "a lone surrogate",
        ["order", "--input", '{"lines": [], "note": "\\ud800"}'],
        "error[usage]: --input: the JSON holds half a character (the lone surrogate \\ud800)\n",
    ),
    Bad(
        "a wrong type",
        ["order", "--input", '{"lines":[{"sku":"A1","cents":5},{"sku":"A2","cents":"5"}]}'],
        f"error[payload]: Expected `int`, got `str` at $.lines[1].cents\n  at {ORDER_AT} order(order)\n",
    ),
    Bad(
        "a wrong type altogether",
        ["order", "--input", "5"],
        f"error[payload]: Expected `object`, got `int` at $\n  at {ORDER_AT} order(order)\n",
    ),
    Bad(
        "a missing field",
        ["order", "--input", '{"lines":[{"sku":"A1"}]}'],
        f"error[payload]: Object missing required field `cents` at $.lines[0].cents\n  at {ORDER_AT} order(order)\n",
    ),
    Bad(
        "no input",
        ["order"],
        f"error[payload]: order needs a value for its parameter `order`\n  at {ORDER_AT}\n",
    ),
    Bad(
        "a missing parameter",
        ["hello", "--input", '{"times": 2}'],
        f"error[payload]: hello needs a value for its parameter `name` at $.name\n  at {HELLO_AT}\n",
    ),
    Bad(
        "an unknown parameter",
        ["hello", "-p", "name=Ada", "-p", "tmes:=2"],
        f"error[payload]: hello has no parameter `tmes` at $.tmes\n  at {HELLO_AT}\n"
        "  hint: did you mean `times`? its parameters are name, times\n",
    ),
    Bad(
        "a text where -p gave one by mistake",
        ["hello", "-p", "name=Ada", "-p", "times=2"],
        "error[payload]: Expected `int`, got `str` at $.times\n"
        f"  at {HELLO_AT} hello(times)\n"
        "  hint: `=` passes text; use -p times:=2\n",
    ),
    Bad(
        "bad JSON with -p",
        ["hello", "-p", "name=Ada", "-p", "times:=x"],
        "error[usage]: -p times is not JSON: invalid character at line 1, column 1\n"
        "  at -p times:1:1\n"
        "  hint: for text use -p times=…\n",
    ),
    Bad(
        "--input and -p",
        ["hello", "--input", "{}", "-p", "name=Ada"],
        "error[usage]: --input and -p cannot be combined\n  hint: put everything into --input, or use -p alone\n",
    ),
    Bad(
        "a file that is not there",
        ["order", "--input", "@none.json"],
        "error[usage]: none.json cannot be read: No such file or directory\n",
    ),
    Bad(
        "a folder",
        ["order", "--input", "@workflows"],
        "error[usage]: workflows cannot be read: Is a directory\n",
    ),
]

OF_IDS = "  hint: use 1 to 120 letters, digits, dots, underscores and dashes, and begin with a letter or digit\n"
IDS = [
    Bad(name, [bad], f"error[usage]: {bad!r} cannot be a workflow id{what}\n{hint}")
    for name, bad, what, hint in [
        ("a slash", "a/b", "", OF_IDS),
        ("dots alone", "..", "", OF_IDS),
        ("a way out", "../order-1", "", OF_IDS),
        ("two dots", "a..b", ": it holds two dots in a row", OF_IDS),
        ("the ending", "order-1.jsonl", ": it ends in .jsonl", "  hint: leave the ending out\n"),
        ("a device", "nul", ": it is a device name on Windows", "  hint: choose another name\n"),
        ("a device with an ending", "COM1.txt", ": it is a device name on Windows", "  hint: choose another name\n"),
        ("too long", "x" * 121, "", OF_IDS),
        ("empty", "", "", OF_IDS),
        ("a blank", "order 1", "", OF_IDS),
        ("a letter of another script", "zakázka", "", OF_IDS),
        ("a run's number", "order-1@2", "", OF_IDS),
        ("a newline", "order\n", "", OF_IDS),
    ]
]


def refused(project: Project, *typed: str, stdin: bytes = b"") -> str:
    """Type something that must be refused, in both modes, and return what stderr says. Nothing may be left behind."""
    before = project.snapshot()
    done = project.here(*typed, stdin=stdin)
    scripted = project.here(*typed, "-o", "json", stdin=stdin)
    assert (done.code, done.stdout) == (2, "")
    assert (scripted.code, scripted.stderr) == (2, done.stderr)
    assert done.stderr.startswith(f"error[{scripted.document['code']}]: ")
    assert scripted.document["message"]
    assert project.snapshot() == before
    return done.stderr


@pytest.mark.parametrize("bad", INPUTS, ids=lambda bad: bad.name)
def test_bad_input_is_told_and_leaves_nothing(project: Project, bad: Bad) -> None:
    stderr = bad.stderr
    for marker, name in ((ORDER_AT, "order"), (HELLO_AT, "hello")):
        file, _, line = project.line_of(f"async def {name}").partition(":")
        stderr = stderr.replace(marker, f"{file}:{int(line) - 1}")
    assert refused(project, "run", *bad.typed, "--id", "order-1") == stderr


@pytest.mark.parametrize("bad", IDS, ids=lambda bad: bad.name)
def test_a_bad_id_is_told_and_leaves_nothing(project: Project, bad: Bad) -> None:
    assert refused(project, "run", "order", "--input", GOOD, "--id", *bad.typed) == bad.stderr


def test_input_that_does_not_fit_leaves_an_existing_run_as_it_is(project: Project) -> None:
    assert project.here("run", "order", "--id", "order-1", "--input", GOOD, "--until-blocked").code == 3
    refused(project, "run", "order", "--id", "order-1", "--input", "5")


@pytest.mark.parametrize("way", ["file", "stdin"])
def test_more_than_64_mib_are_refused(project: Project, way: str) -> None:
    size = 65 << 20
    given = b'{"lines":[],"note":"' + b"x" * (size - 22) + b'"}'
    if way == "file":
        (project.root / "big.json").write_bytes(given)
        done = project.here("run", "order", "--id", "order-1", "--input", "@big.json")
    else:
        done = project.here("run", "order", "--id", "order-1", "--input", "-", stdin=given)
    name = "big.json" if way == "file" else "stdin"
    assert done == (
        2,
        "",
        f"error[usage]: {name} is larger than 64 MiB\n"
        "  hint: keep large data in a file or an object store, and pass its path or address\n",
    )
    assert not project.histories.exists()


def test_a_lone_surrogate_from_the_shell_is_refused(project: Project) -> None:
    done = project.aion("run", "hello", "--input", os.fsdecode(b'{"name": "\xff"}'))
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("error[usage]: --input is not JSON: ")
    assert not project.histories.exists()


def test_an_id_that_differs_only_in_case_is_refused(project: Project) -> None:
    assert project.here("run", "order", "--id", "order-1", "--input", GOOD, "--until-blocked").code == 3
    stderr = refused(project, "run", "order", "--id", "Order-1", "--input", GOOD)
    assert stderr == (
        "error[usage]: Order-1 differs only in case from order-1, which exists\n"
        "  hint: on some disks the two would be one file; choose another id\n"
    )


def test_a_workflow_file_with_a_syntax_error_is_named_with_its_line(project: Project) -> None:
    project.write("def broken(:\n    pass\n", "workflows/broken.py")
    place = project.line_of("def broken", "workflows/broken.py")
    assert refused(project, "run", "broken") == (
        f"error[workflow-code]: workflows/broken.py cannot be imported: SyntaxError: invalid syntax\n  at {place}\n"
    )


def test_a_workflow_file_that_raises_shows_the_authors_frames_alone(project: Project) -> None:
    project.write(
        """
        def read_token():
            return {}["TOKEN"]

        token = read_token()
        """,
        "workflows/broken.py",
    )
    stderr = refused(project, "run", "broken")
    place = project.line_of("return {}", "workflows/broken.py")
    assert stderr.splitlines()[:3] == [
        "error[workflow-code]: workflows/broken.py cannot be imported: KeyError: 'TOKEN'",
        f"  at {place}",
        "  Traceback (most recent call last):",
    ]
    frames = [line for line in stderr.splitlines() if line.lstrip().startswith("File ")]
    assert [frame.rpartition(", in ")[2] for frame in frames] == ["<module>", "read_token"]
    assert all("workflows/broken.py" in frame for frame in frames)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import sys\nsys.exit(3)\n", "workflows/broken.py cannot be imported: it exits (3) while it is imported"),
        ("import nowhere\n", "workflows/broken.py cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
        ('Signal("")\n', "'' cannot be the name of a signal"),
        ("@workflow\ndef plain(): ...\n", "workflow plain is not an `async def` function"),
        ("x = 1\n", "workflows/broken.py defines no workflow"),
    ],
)
def test_a_workflow_file_that_is_no_good_is_named_with_the_line(project: Project, source: str, message: str) -> None:
    project.write(source, "workflows/broken.py")
    stderr = refused(project, "run", "broken.py")
    assert stderr.startswith(f"error[workflow-code]: {message}\n")
    if "defines no" not in message:
        assert "  at workflows/broken.py:" in stderr


def test_a_file_with_two_workflows_wants_a_name_and_lists_them(project: Project) -> None:
    first, second = (project.line_of(f"async def {name}") for name in ("order", "hello"))
    decorators = [f"{file}:{int(line) - 1}" for file, _, line in (first.partition(":"), second.partition(":"))]
    (project.root / "workflows/order.py").rename(project.root / "workflows/shop.py")
    for target in ("shop", "shop.py", "workflows/shop.py"):
        assert refused(project, "run", target) == (
            "error[workflow-code]: workflows/shop.py defines 2 workflows: hello, order\n"
            + "".join(f"  at {place.replace('order', 'shop')}\n" for place in decorators)
            + "  hint: name one: workflows/shop.py:order\n"
        )
    assert project.here("run", "shop.py:hello", "--input", '{"name": "Ada"}', "-q") == (0, '"Ada"\n', "")


def test_an_unknown_workflow_lists_what_there_is(project: Project) -> None:
    assert refused(project, "run", "ordr") == (
        "error[workflow-code]: there is no workflow ordr\n  hint: there are: hello, order\n"
    )
    assert refused(project, "run", "order.py:ordr") == (
        "error[workflow-code]: workflows/order.py defines no workflow ordr\n  hint: it defines: hello, order\n"
    )
    assert refused(project, "run", "order:hello") == (
        "error[workflow-code]: there is no module order\n  hint: workflows/order.py is a file: write order.py:NAME\n"
    )
    assert refused(project, "run", "") == (
        "error[workflow-code]: there is no workflow ''\n  hint: there are: hello, order\n"
    )


def test_a_file_with_a_syntax_error_is_named_where_it_may_hide_what_is_looked_for(project: Project) -> None:
    project.write("def broken(\n", "workflows/other.py")
    place = project.line_of("def broken(", "workflows/other.py")
    assert refused(project, "run", "ordr") == (
        f"error[workflow-code]: there is no workflow ordr\n  at {place}\n"
        "  hint: there are: hello, order; a syntax error hides what is defined in the file above\n"
    )


def test_the_syntax_error_in_the_file_of_a_recorded_run_is_shown(project: Project) -> None:
    project.write("@workflow\nasync def order(): await asyncio.sleep(3600)\n")
    project.here("run", "order", "--id", "r", "--until-blocked")
    project.write("async def order(\n")
    for command in (["resume", "r"], ["replay", "r"], ["query", "r", "status"]):
        done = project.here(*command)
        assert done.code == 2
        assert "SyntaxError" in done.stderr
        assert project.line_of("async def order(") in done.stderr


def test_a_name_that_two_files_define_lists_both(project: Project) -> None:
    project.write("@workflow\nasync def hello() -> None: ...\n", "workflows/other.py")
    stderr = refused(project, "run", "hello")
    assert stderr.splitlines()[0] == (
        "error[workflow-code]: 2 files define a workflow hello: workflows/order.py, workflows/other.py"
    )
    assert stderr.splitlines()[-1] == "  hint: name one: workflows/order.py:hello or workflows/other.py:hello"
    done = project.here("run", "workflows/other.py:hello", "-q")
    assert done == (0, "null\n", "")


@pytest.mark.parametrize("recorded", ["{root}/evil.py", "../evil.py", "link.py", "evil"])
def test_what_a_history_names_is_not_imported_from_outside_of_the_project(tmp_path: Path, recorded: str) -> None:
    (tmp_path / "evil.py").write_text("open('imported', 'w')\n" + textwrap.dedent(PREAMBLE + ORDER))
    project = Project(tmp_path / "project")
    project.histories.mkdir(parents=True)
    (project.root / "link.py").symlink_to(tmp_path / "evil.py")
    file = recorded.format(root=tmp_path)
    start = msgspec.structs.replace(started(workflow_type="order"), definition=ev.DefinitionRef("evil", file, ""))
    create(project.history("order-1"), [start]).close()
    for command in (["replay", "order-1"], ["signal", "order-1", "approval", "true"]):
        done = project.here(*command)
        assert f"there is no code for workflow order: workflows does not define it, nor does {file}" in done.stderr
        assert done.code == (2 if command[0] == "replay" else 0)
    assert not list(tmp_path.rglob("imported"))


def test_a_file_outside_of_the_project_runs_where_it_is_named_and_is_asked_for_where_it_is_not(tmp_path: Path) -> None:
    outside = Project(tmp_path / "outside").write("@workflow\nasync def far() -> str: return 'far'\n", "far.py")
    project = Project(tmp_path / "project")
    project.root.mkdir()
    assert project.here("run", "../outside/far.py", "--id", "f", "-q") == (0, '"far"\n', "")
    assert project.events("f")[0].definition.file == str(outside)
    done = project.here("replay", "f")
    assert (done.code, "hint: name it: --workflow TARGET" in done.stderr) == (2, True)
    assert project.here("replay", "f", "--workflow", "../outside/far.py").code == 0


CAP_DAC_OVERRIDE, PR_CAPBSET_DROP = 1, 24


def obey_permissions() -> None:
    """Make root obey the permissions of files, like everybody else, from the next program on."""
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0) != 0:
        os._exit(99)


@pytest.mark.skipif(sys.platform != "linux" and os.geteuid() == 0, reason="root may write everywhere here")
def test_a_folder_that_cannot_be_written_is_exit_code_10(project: Project) -> None:
    project.histories.mkdir(mode=0o555)
    before = project.snapshot()
    done = project.aion("run", "order", "--id", "order-1", "--input", GOOD, before_exec=obey_permissions)
    assert (done.code, done.stdout) == (10, "")
    assert done.stderr == (
        "error[storage]: cannot create the directory histories/.aion: Permission denied\n"
        "  hint: check who owns that file and its directory\n"
    )
    assert project.snapshot() == before


def test_a_file_that_ends_within_its_first_line_is_no_run_and_makes_room_for_one(project: Project) -> None:
    project.histories.mkdir()
    project.history("order-1").write_bytes(b'{"type":"WorkflowStarted","seq":1')
    for command in (["replay", "order-1"], ["show", "order-1"], ["signal", "order-1", "approval", "true"]):
        done = project.here(*command)
        assert (done.code, done.stderr.splitlines()[0]) == (7, "error[no-such-run]: there is no run order-1")
        assert "did you mean" not in done.stderr
    done = project.here("run", "order", "--id", "order-1", "--input", GOOD, "--until-blocked", "-q")
    assert (done.code, done.document["status"]) == (3, "waiting")
    assert done.stderr == (
        "histories/order-1.jsonl: it ended within its first line (never acknowledged), "
        "and is now in histories/.aion/torn\n"
    )
    (torn,) = (project.histories / ".aion/torn").iterdir()
    assert torn.read_bytes() == b'{"type":"WorkflowStarted","seq":1'


@pytest.fixture
def damaged(project: Project) -> Project:
    """An open run with a digit of its second line changed."""
    assert project.here("run", "order", "--id", "order-1", "--input", GOOD, "--until-blocked").code == 3
    path = project.history("order-1")
    first, second, *rest = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([first, second.replace(b'"cents":5', b'"cents":6'), *rest]))
    return project


DAMAGE = (
    "error[damaged]: the history is damaged: the line does not match its digest, or a line above it was changed\n"
    "  at histories/order-1.jsonl:2\n"
    "  hint: restore the file from a copy; nothing was changed\n"
)


@pytest.mark.parametrize(
    "command",
    [
        ["run", "order", "--id", "order-1"],
        ["replay", "order-1"],
        ["signal", "order-1", "approval", "true"],
        ["signal", "order-1", "approval", "true", "--id", "k1", "--wait"],
        ["show", "order-1"],
    ],
    ids=" ".join,
)
def test_a_damaged_history_stops_every_command_and_stays_as_it_is(damaged: Project, command: list[str]) -> None:
    before = damaged.snapshot()
    done = damaged.here(*command)
    assert (done.code, done.stderr) == (5, DAMAGE)
    scripted = damaged.here(*command, "-o", "json")
    assert (scripted.code, scripted.stderr) == (5, DAMAGE)
    assert '"damaged"' in scripted.stdout
    assert json.loads(scripted.stdout.splitlines()[-1])
    assert damaged.snapshot() == before


def test_a_signal_that_failed_on_a_damaged_history_does_not_come_to_life_when_that_is_restored(
    damaged: Project,
) -> None:
    assert damaged.here("signal", "order-1", "approval", "true").code == 5
    path = damaged.history("order-1")
    path.write_bytes(path.read_bytes().replace(b'"cents":6', b'"cents":5'))
    assert damaged.here("run", "order", "--id", "order-1", "--until-blocked").code == 3
    assert "SignalReceived" not in damaged.names("order-1")
