"""From a name to a workflow: found by reading, imported alone, and never from where a stranger's history points."""

from __future__ import annotations

import asyncio
import hashlib
import os
import py_compile
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from aion_cli.errors import WorkflowCodeError
from aion_cli.runtime.loader import digest_of, load_for_history, load_registered, load_target
from aion_cli.runtime.scan import scan_file, scan_folder

PROJECT = Path(__file__).parents[2]

ORDER = """
from aion_cli import workflow

@workflow
async def order_saga(n: int) -> int:
    return n
"""


class Project:
    """A directory with a workflows folder, as a user has it. Files are named relative to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.workflows = root / "workflows"
        self.workflows.mkdir()

    def write(self, name: str, source: str) -> Path:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source))
        return file

    def load(self, target: str) -> str:
        """Return "name at file:line" of what a target names."""
        found = load_target(target, self.workflows, self.root)
        return f"{found.name} at {Path(found.file).relative_to(self.root)}:{found.line}"

    def refusal(self, target: str) -> WorkflowCodeError:
        with pytest.raises(WorkflowCodeError) as caught:
            load_target(target, self.workflows, self.root)
        return caught.value

    def of_history(self, workflow_type: str, recorded_file: str) -> str:
        found = load_for_history(workflow_type, recorded_file, self.workflows, self.root)
        return f"{found.name} at {Path(found.file).relative_to(self.root)}:{found.line}"

    def no_code(self, workflow_type: str, recorded_file: str) -> WorkflowCodeError:
        with pytest.raises(WorkflowCodeError) as caught:
            load_for_history(workflow_type, recorded_file, self.workflows, self.root)
        return caught.value


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    modules, path, finders = set(sys.modules), list(sys.path), list(sys.meta_path)
    yield Project(tmp_path.resolve())
    sys.path[:], sys.meta_path[:] = path, finders
    for name in set(sys.modules) - modules:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path.resolve())):
            del sys.modules[name]


def test_a_workflow_is_named_by_its_stem_its_registered_name_or_its_file(project: Project) -> None:
    project.write("workflows/order.py", ORDER)
    project.write("local.py", ORDER)
    project.write("workflows/named.py", "import aion_cli\n@aion_cli.workflow(name='nightly-run')\nasync def f(): ...\n")
    expected = "order_saga at workflows/order.py:4"
    for target in ("order", "order_saga", "order.py", "workflows/order.py", "order.py:order_saga"):
        assert project.load(target) == expected
    assert project.load(f"{project.workflows}/order.py") == expected
    assert project.load("local.py") == "order_saga at local.py:4"
    for target in ("named", "nightly-run", "named.py:nightly-run", "named.py:f"):
        assert project.load(target) == "nightly-run at workflows/named.py:2"


def test_a_file_is_looked_up_from_the_current_directory_before_the_workflows_folder(project: Project) -> None:
    project.write("workflows/job_a.py", ORDER)
    project.write("job_a.py", "\n" + ORDER)
    assert project.load("job_a.py") == "order_saga at job_a.py:5"


def test_a_module_is_found_from_the_current_directory(project: Project) -> None:
    project.write("pkg_of_mine/__init__.py", "")
    project.write("pkg_of_mine/flows.py", "from pkg_of_mine import base\n" + ORDER)
    project.write("pkg_of_mine/base.py", "")
    assert project.load("pkg_of_mine.flows:order_saga") == "order_saga at pkg_of_mine/flows.py:5"
    assert "no module pkg_of_mine.none" in project.refusal("pkg_of_mine.none:x").message
    assert "no module none_at_all" in project.refusal("none_at_all:x").message
    assert "neither" in project.refusal("a-b/c:x").message
    assert "no workflow join" in project.refusal("pkg_of_mine.flows:join").message


def test_neighbours_are_the_same_modules_and_definitions(project: Project) -> None:
    project.write("workflows/parent_flow.py", "from child_flow import child\n" + ORDER)
    project.write("workflows/child_flow.py", "from aion_cli import workflow\n@workflow\nasync def child(): ...\n")
    parent = load_target("parent_flow", project.workflows, project.root)
    child = load_target("child", project.workflows, project.root)
    assert parent.name == "order_saga"
    assert sys.modules["parent_flow"].child is child
    assert load_target("workflows/parent_flow.py", project.workflows, project.root) is parent


def test_an_unknown_name_lists_what_there_is(project: Project) -> None:
    assert "holds none" in project.refusal("order").message
    project.write("workflows/order.py", ORDER)
    project.write("workflows/broken.py", "def (")
    error = project.refusal("ordre")
    assert error.hint == "there are: order, order_saga; a syntax error hides what is defined in the file above"
    assert [place.rpartition("/")[2] for place in error.where] == ["broken.py:1"]
    for target in ("../order", "", "order:", ":order", "\0"):
        assert "no workflow" in project.refusal(target).message
    for target in ("none.py", "none.py:x", "\0.py", "workflows.py"):
        assert "there is no file" in project.refusal(target).message


def test_a_name_that_two_files_define_is_refused_with_both(project: Project) -> None:
    project.write("workflows/one.py", ORDER)
    project.write("workflows/two.py", ORDER)
    error = project.refusal("order_saga")
    assert [place.removeprefix(f"{project.workflows}/") for place in error.where] == ["one.py:5", "two.py:5"]
    assert "one.py:order_saga or" in error.hint
    project.write("workflows/order_saga.py", ORDER.replace("order_saga", "other"))
    assert len(project.refusal("order_saga").where) == 3


def test_a_namesake_without_workflows_is_no_rival(project: Project) -> None:
    project.write("workflows/order_saga.py", "HELP = 1\n")
    project.write("workflows/flows.py", ORDER)
    assert project.load("order_saga") == "order_saga at workflows/flows.py:4"


def test_a_file_with_several_workflows_wants_a_name(project: Project) -> None:
    project.write("workflows/many.py", ORDER + ORDER.replace("order_saga", "refund"))
    error = project.refusal("many")
    assert "2 workflows: order_saga, refund" in error.message
    assert error.hint.endswith("many.py:order_saga")
    assert project.load("many.py:refund").startswith("refund")
    assert project.load("refund").startswith("refund")
    assert project.refusal("many.py:none").hint == "it defines: order_saga, refund"


def test_the_name_of_the_file_may_be_one_of_its_workflows(project: Project) -> None:
    project.write("workflows/refund.py", ORDER + ORDER.replace("order_saga", "refund"))
    assert project.load("refund").startswith("refund at workflows/refund.py")


def test_a_file_without_a_workflow_says_so_and_imported_ones_do_not_count(project: Project) -> None:
    project.write("workflows/empty_one.py", "from flows_of_other import order_saga\n")
    project.write("workflows/flows_of_other.py", ORDER)
    error = project.refusal("empty_one.py")
    assert "defines no workflow" in error.message
    assert "@workflow" in error.hint
    assert project.load("empty_one.py:order_saga") == "order_saga at workflows/flows_of_other.py:4"


def test_a_name_given_to_two_workflows_of_a_file_is_refused(project: Project) -> None:
    twice = "from aion_cli import workflow\n" + "".join(
        f"@workflow(name='same')\nasync def f{n}(): ...\n" for n in range(2)
    )
    project.write("workflows/doubles.py", twice)
    assert "more than once" in project.refusal("doubles.py:same").message


def test_a_syntax_error_names_its_line(project: Project) -> None:
    project.write("workflows/typo.py", "x = 1\ndef f(:\n")
    error = project.refusal("typo.py")
    assert "SyntaxError" in error.message
    assert error.where == ("workflows/typo.py:2",)
    project.write("workflows/binary.py", "x = 'a\0b'\n")
    assert "binary.py cannot be imported" in project.refusal("binary.py").message


def test_a_file_that_raises_when_imported_shows_only_the_users_frames(project: Project) -> None:
    project.write("workflows/raises.py", "import raising_neighbour\n" + ORDER)
    project.write("workflows/raising_neighbour.py", "def f():\n    return {}['gone']\nf()\n")
    error = project.refusal("raises")
    assert "KeyError: 'gone'" in error.message
    assert error.where == ("workflows/raising_neighbour.py:2",)
    frames = [line.split('"')[1] for line in error.trace.splitlines() if line.startswith("  File")]
    assert [Path(frame).name for frame in frames] == ["raises.py", "raising_neighbour.py", "raising_neighbour.py"]
    assert error.__cause__ is None
    assert "raises" not in sys.modules


def test_a_file_can_be_repaired_and_loaded_again(project: Project) -> None:
    project.write("workflows/repaired.py", ORDER + "raise ValueError('a')\n")
    assert "ValueError: a" in project.refusal("repaired").message
    project.write("workflows/repaired.py", ORDER + "VALUE = int('1' '0')   \n")
    assert project.load("repaired").startswith("order_saga")


def test_what_runs_is_the_source_that_is_there_not_a_stale_cache_of_it(project: Project) -> None:
    file = project.write("workflows/edited.py", ORDER + "VERSION = 1\n")
    py_compile.compile(str(file))
    stamp = file.stat().st_mtime
    project.write("workflows/edited.py", ORDER + "VERSION = 2\n")
    os.utime(file, (stamp, stamp))
    project.load("edited")
    assert sys.modules["edited"].VERSION == 2


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise SystemExit(3)", "it exits (3)"),
        ("import sys; sys.exit()", "it exits (0)"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("from aion_cli import ContinueAsNew\nraise ContinueAsNew(1)", "ContinueAsNew"),
        ("import no_such_module_here", "No module named 'no_such_module_here'"),
        ("def f(): f()\nf()", "RecursionError"),
        ("from aion_cli import workflow\n@workflow\nasync def f(*a): ...", "f takes *a"),
        ("from aion_cli import workflow\n@workflow\ndef f(): ...", "async def"),
    ],
)
def test_whatever_a_file_does_when_imported_is_an_error_about_the_file(
    project: Project, source: str, said: str
) -> None:
    project.write("workflows/misbehaves.py", source)
    error = project.refusal("misbehaves.py")
    assert said in error.message
    assert error.where[0].split(":")[0].endswith("misbehaves.py")


def test_an_interrupt_while_importing_passes_and_leaves_no_half_a_module(project: Project) -> None:
    project.write("workflows/interrupted.py", "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load_target("interrupted.py", project.workflows, project.root)
    assert "interrupted" not in sys.modules


def test_a_broken_neighbour_harms_nobody(project: Project) -> None:
    project.write("workflows/order.py", ORDER)
    project.write("workflows/syntax.py", "def (")
    project.write("workflows/deep.py", "x = " + "(" * 5000)
    (project.workflows / "latin.py").write_bytes(b"# \xff\n")
    (project.workflows / "zeros.py").write_bytes(b"\0")
    (project.workflows / "folder.py").mkdir()
    (project.workflows / "dangling.py").symlink_to("nowhere.py")
    assert project.load("order_saga").startswith("order_saga")


def test_what_a_file_prints_when_imported_goes_to_stderr(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.write("workflows/chatty.py", "print('hello')\n" + ORDER)
    project.load("chatty")
    assert capsys.readouterr() == ("", "hello\n")


@pytest.mark.parametrize("stem", ["json", "email", "colorsys", "msgspec", "pytest", "aion_cli"])
def test_a_file_that_has_the_name_of_another_module_is_refused_and_breaks_nothing(project: Project, stem: str) -> None:
    before = sys.modules.get(stem)
    project.write(f"workflows/{stem}.py", ORDER)
    error = project.refusal(f"{stem}.py")
    assert "name of another module" in error.message
    assert error.hint == "rename the file"
    assert sys.modules.get(stem) is before


def test_two_files_of_one_stem_cannot_both_be_loaded(project: Project) -> None:
    project.write("workflows/samestem.py", ORDER)
    project.write("elsewhere/samestem.py", ORDER)
    project.load("samestem")
    assert "name of another module" in project.refusal("elsewhere/samestem.py").message
    assert project.load("samestem").startswith("order_saga")


def test_a_neighbour_with_the_name_of_a_standard_module_does_not_replace_it(project: Project) -> None:
    project.write("workflows/colorsys.py", "raise RuntimeError('the wrong one')\n")
    project.write("workflows/painting.py", "import colorsys\nassert colorsys.rgb_to_hsv\n" + ORDER)
    script = f"""
import sys; sys.path.insert(0, {str(PROJECT)!r})
from pathlib import Path
from aion_cli.runtime.loader import load_target
print(load_target("painting", Path("workflows"), Path.cwd()).name)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=project.root, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("order_saga\n", "")


def test_bytecode_settings_are_left_alone(project: Project) -> None:
    before = sys.dont_write_bytecode
    project.write("workflows/plain.py", ORDER)
    project.load("plain")
    assert sys.dont_write_bytecode is before


def test_a_stem_that_is_no_identifier_can_be_loaded(project: Project) -> None:
    project.write("workflows/night-run.2.py", ORDER)
    assert project.load("night-run.2") == "order_saga at workflows/night-run.2.py:4"


def test_a_workflow_of_a_file_can_be_run(project: Project) -> None:
    project.write("workflows/runs.py", ORDER)
    definition = load_registered("order_saga", project.workflows, project.root)
    assert asyncio.run(definition.fn(3)) == 3
    with pytest.raises(WorkflowCodeError, match="no workflow runs"):
        load_registered("runs", project.workflows, project.root)


def test_the_code_of_a_history_is_found_by_its_type_in_the_workflows_folder(project: Project) -> None:
    project.write("workflows/moved.py", ORDER)
    assert project.of_history("order_saga", "") == "order_saga at workflows/moved.py:4"
    assert project.of_history("order_saga", "/gone/order.py") == "order_saga at workflows/moved.py:4"
    project.write("workflows/copied.py", "\n" + ORDER)
    assert project.of_history("order_saga", "workflows/copied.py") == "order_saga at workflows/copied.py:5"
    assert len(project.no_code("order_saga", "").where) == 2


def test_the_code_of_a_history_is_found_in_its_file_below_the_current_directory(project: Project) -> None:
    file = project.write("jobs/nightly.py", ORDER)
    assert project.of_history("order_saga", "jobs/nightly.py") == "order_saga at jobs/nightly.py:4"
    assert project.of_history("order_saga", str(file)) == "order_saga at jobs/nightly.py:4"
    assert "--workflow" in project.no_code("order_saga", "jobs/gone.py").hint


def test_what_a_history_names_is_never_imported_from_elsewhere(project: Project, tmp_path: Path) -> None:
    stranger = ORDER + "import pathlib; pathlib.Path(__file__).with_suffix('.imported').touch()\n"
    outside = project.write("stranger/outside_of_it.py", stranger)
    inner = Project(project.write("inner/.keep", "").parent)
    inner.write("other_type.py", stranger.replace("order_saga", "another"))
    inner.write("notes.txt", stranger)
    (inner.root / "link_out.py").symlink_to(outside)
    (inner.root / "linked").symlink_to(outside.parent)
    for recorded in (
        str(outside),
        "../stranger/outside_of_it.py",
        "link_out.py",
        "linked/outside_of_it.py",
        "other_type.py",
        "notes.txt",
        "outside_of_it",
        "os",
        "\0.py",
        "x" * 5000 + ".py",
        ".",
        "",
    ):
        assert "no code for workflow order_saga" in inner.no_code("order_saga", recorded).message
    assert not list(tmp_path.rglob("*.imported"))


def test_the_scan_knows_the_decorator_however_it_was_imported(project: Project) -> None:
    file = project.write(
        "workflows/spellings.py",
        """
        import aion_cli
        import aion_cli as aion
        import aion_cli.api.definitions
        from aion_cli import workflow as durable
        from aion_cli import *
        from elsewhere import workflow as fake
        import other

        @aion_cli.workflow
        async def a(): ...
        @aion.workflow(name="b-name")
        async def b(): ...
        @durable
        async def c(): ...
        @workflow()
        async def d(): ...
        @aion_cli.api.definitions.workflow(name=None)
        async def e(): ...
        try:
            if True:
                @other.decorator
                @workflow
                async def f(): ...
        finally:
            pass
        @fake
        async def not_one(): ...
        @other.workflow
        async def nor_this(): ...
        @workflow(name="x" + "y")
        async def computed(): ...
        @aion_cli.activity
        async def activity(): ...
        def factory():
            @workflow
            async def inside(): ...
        """,
    )
    assert [(f.name, f.function) for f in scan_file(file)] == [
        ("a", "a"),
        ("b-name", "b"),
        ("c", "c"),
        ("d", "d"),
        ("e", "e"),
        ("f", "f"),
    ]
    assert scan_folder(project.root / "none") == []


def test_a_digest_is_that_of_the_bytes(project: Project) -> None:
    file = project.write("workflows/order.py", ORDER)
    assert digest_of(file) == "sha256:" + hashlib.sha256(ORDER.encode()).hexdigest()
    assert digest_of(project.root / "none.py") == ""
    assert digest_of(Path(os.devnull).parent) == ""
