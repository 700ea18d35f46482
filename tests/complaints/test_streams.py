"""At the prompt: imports, blocked code, streams, exit codes, secrets and logs."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator

import pytest
from cryptography.fernet import Fernet

from aion_cli.api.masking import masks
from aion_cli.runtime import codec
from tests.cli.support import Done, Project

# --- 21: workflow files are modules


@pytest.mark.complaint(21)
def test_a_workflow_file_imports_what_it_likes_and_its_neighbours(project: Project) -> None:
    """Row 21: it is an ordinary module, and its neighbours are the same modules for everybody."""
    project.write("RATES = {}", "workflows/rates.py")
    project.write(
        """
        import http.client, multiprocessing, random, socket, sqlite3, subprocess, threading, time
        from concurrent.futures import ThreadPoolExecutor
        import rates
        from rates import RATES

        LOCK = threading.Lock()

        @workflow
        async def order() -> bool:
            return rates.RATES is RATES and LOCK.acquire(blocking=False)
        """
    )
    assert project.here("run", "order.py", "--id", "o1", "-q") == (0, "true\n", "")


@pytest.mark.complaint(21)
def test_a_line_that_blocks_everything_is_named_after_as_long_as_one_likes_and_not_interrupted(
    project: Project,
) -> None:
    """Row 21: AION_WATCHDOG sets the limit, 0 takes it away."""
    project.write(
        """
        import os

        @workflow
        async def busy() -> str:
            while not os.path.exists("may-end"):
                pass
            return "done"
        """
    )
    with project.start("run", "busy", "--id", "b1", environ={"AION_WATCHDOG": "0.02"}) as running:
        running.until_stderr_says("b1: workflow code has been busy for ")
        (project.root / "may-end").touch()
        done = running.end()
    assert (done.code, done.stdout) == (0, '"done"\n')
    places = {project.line_of("while not"), f"workflows/order.py:{int(project.line_of('while not')[19:]) + 1}"}
    assert any(f"at {place}; " in done.stderr for place in places), done.stderr
    assert project.here("run", "busy", "--id", "b2", environ={"AION_WATCHDOG": "soon"}).code == 2


# --- 23, 24: input, output, exit codes

ORDERS = """
    import msgspec

    class Order(msgspec.Struct):
        sku: str
        cents: int
        gift: bool = False

    @activity
    async def noisy(order: Order) -> str:
        print("from the activity")
        return f"{order.sku} žluťoučký"

    @workflow
    async def order(order: Order) -> str:
        print("from the workflow")
        if order.cents < 0:
            raise ValueError("too little")
        if order.cents == 0:
            await asyncio.sleep(3600)
        return await noisy(order)
"""
ORDER = '{"sku": "A1", "cents": 1250, "gift": false}'


@pytest.mark.complaint(23)
@pytest.mark.parametrize(
    "given",
    [
        ["--input", ORDER],
        ["--input", "@order.json"],
        ["--input", "-"],
        ["-p", "sku=A1", "-p", "cents:=1250"],
        ["-p", 'sku:="A1"', "-p", "cents:=1250", "-p", "gift:=false"],
    ],
    ids=" ".join,
)
def test_input_needs_no_quoting_that_shells_disagree_about(project: Project, given: list[str]) -> None:
    """Row 23: JSON, a file, stdin, or key=text and key:=json, all the same input."""
    project.write(ORDERS)
    (project.root / "order.json").write_text(ORDER)
    assert project.here("run", "order", "--id", "o1", *given, stdin=ORDER.encode()).code == 0
    assert json.loads(bytes(project.events("o1")[0].input)) == json.loads(ORDER)


@pytest.mark.complaint(23)
def test_stdout_is_one_json_document_or_one_object_a_line_whatever_code_prints(project: Project) -> None:
    """Row 23: what workflows and activities print goes to stderr; text is UTF-8 and not escaped."""
    project.write(ORDERS)
    done = project.here("run", "order", "--id", "o1", "--input", ORDER, "-o", "json")
    assert (done.document["result"], "žluťoučký" in done.stdout) == ("A1 žluťoučký", True)
    assert "from the workflow" in done.stderr and "from the activity" in done.stderr
    assert project.here("list", "-o", "json").document[0]["workflow_id"] == "o1"
    lines = project.here("show", "o1", "-o", "jsonl").stdout.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3, 4, 5]


@pytest.mark.complaint(24)
@pytest.mark.parametrize("mode", ["human", "json", "jsonl"])
@pytest.mark.parametrize(
    ("cents", "code"), [("1250", 0), ("-1", 1), ('"many"', 2), ("0", 3)], ids=["completed", "failed", "misfit", "open"]
)
def test_the_exit_code_is_the_same_in_every_mode_of_output(project: Project, mode: str, cents: str, code: int) -> None:
    """Row 24: a script that asks for JSON learns of a failure as well."""
    project.write(ORDERS)
    line = ["run", "order", "--id", "o1", "-p", "sku=A1", "-p", f"cents:={cents}", "--until-blocked", "-o", mode]
    done = project.here(*line)
    assert done.code == code
    if mode != "human":
        assert isinstance(done.document, dict)


# --- 25: secrets

VALUE = "hunter22-étroit"
SECRETS = """
    from aion_cli import Secret, log, set_tags

    @activity
    async def logs_in(secret: Secret) -> str:
        value = secret.reveal()
        print("with", value)
        log.info("with %s", value)
        return f"token of {value}"

    @activity
    async def fails(secret: Secret) -> None:
        raise PermissionError(f"not with {secret.reveal()}")

    @workflow
    async def entry(secret: Secret) -> None:
        token = await logs_in(secret)
        set_tags(token=token)
        await fails(secret)
"""


@pytest.fixture
def nothing_is_kept() -> Iterator[None]:
    """Forget what was revealed, and the codec, before and after."""
    for _ in range(2):
        masks.clear()
        codec.codec_from_environment.cache_clear()
        if _ == 0:
            yield


def everything(project: Project, *said: Done) -> str:
    files = [path.read_bytes().decode("utf-8", "replace") for path in project.histories.rglob("*") if path.is_file()]
    return "\n".join([*files, *(done.stdout + done.stderr for done in said)])


@pytest.mark.complaint(25)
@pytest.mark.usefixtures("nothing_is_kept")
def test_a_secret_is_a_reference_and_its_value_is_masked_in_results_errors_tags_and_logs(project: Project) -> None:
    """Row 25: nothing on disk and nothing on a stream holds it."""
    project.write(SECRETS)
    environ = {"DOOR": VALUE}
    done = project.aion("run", "entry", "--id", "e1", "--input", '"env:DOOR"', environ=environ)
    shown = [project.here(*line, environ=environ) for line in (["show", "e1"], ["list", "-o", "json"])]
    assert (done.code, project.names("e1").count("TagsSet")) == (1, 1)
    for said in ("\nwith ***\n", "\ninfo: with ***\n", "PermissionError: not with ***"):
        assert said in done.stderr
    assert '"env:DOOR"' in everything(project) and "token of ***" in everything(project)
    assert VALUE not in everything(project, done, *shown)


@pytest.mark.complaint(25)
@pytest.mark.usefixtures("nothing_is_kept")
def test_payloads_can_be_encrypted_and_files_are_private(project: Project) -> None:
    """Row 25: with AION_CODEC no payload can be read on disk; whatever the umask, nobody else can read the files."""
    project.write(ORDERS)
    environ = {"AION_CODEC": "aion_cli.codecs:FernetCodec", "AION_CODEC_KEY": Fernet.generate_key().decode()}
    done = project.aion("run", "order", "--id", "o1", "-p", "sku=velvet", "-p", "cents:=1", environ=environ)
    assert (done.code, done.stdout) == (0, '"velvet žluťoučký"\n')
    assert "velvet" not in everything(project)
    assert project.aion("replay", "o1", environ=environ).code == 0
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in project.histories.rglob("*")}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}


# --- 26: logs


@pytest.mark.complaint(26)
def test_what_a_workflow_logs_and_prints_is_said_once_and_can_be_seen_again(project: Project) -> None:
    """Row 26: silent in a replay, unless it is asked for."""
    project.write(
        """
        from aion_cli import log

        approval = Signal("approval", bool)

        @workflow
        async def waits() -> bool:
            log.info("logged before")
            print("printed before")
            found = await approval.receive()
            log.info("logged after")
            return found
        """
    )
    first = project.aion("run", "waits", "--id", "w1", "--until-blocked")
    assert project.here("signal", "w1", "approval", "true").code == 0
    second = project.aion("run", "waits", "--id", "w1")
    said = ["logged before", "printed before", "logged after"]
    assert [text in first.stderr for text in said] == [True, True, False]
    assert [text in second.stderr for text in said] == [False, False, True]
    silent, shown = project.aion("replay", "w1"), project.aion("replay", "w1", "--show-replay-output")
    assert [text in silent.stderr for text in said] == [False, False, False]
    assert [text in shown.stderr for text in said] == [True, True, True]
