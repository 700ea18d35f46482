"""Secrets through `aion run`: a value is nowhere on disk, on no stream; with a codec no payload can be read on disk."""

from __future__ import annotations

import json
import os
import resource
import shlex
import signal
import time
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from aion_cli.api.masking import masks
from aion_cli.cli import inspect
from aion_cli.errors import StoreError
from aion_cli.runtime import codec
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.ownership import Role, take
from tests.cli.support import Done, Project
from tests.cli.terminals import OnTerminal

VALUE = 'hunter22-"quoted"\\slashed\tétroit'
"""A value that JSON, shells and Python's repr write in ways of their own."""

LEAKY = """
import json, logging, os, subprocess, sys
from aion_cli import RetryPolicy, Secret, SecretError, heartbeat, log, set_progress, set_tags, shell

logging.basicConfig(level="INFO")

class LeakyError(Exception):
    def __init__(self, value):
        super().__init__("no entry with " + value)
        self.details = {"tried": [value], value: 1}
        self.add_note("noted " + value)

@activity
def returns(secret: Secret) -> dict:
    value = secret.reveal()
    return {"value": value, value: [value + "!", {"n": 1}], "file": Secret("file:deploy.key").reveal()}

@activity(retry=RetryPolicy(max_attempts=2, initial=0.001))
async def raises(secret: Secret):
    value = secret.reveal()
    heartbeat({"at": value})
    try:
        raise KeyError(value)
    except KeyError as error:
        raise LeakyError(value + "x" * 9000) from error

@activity
def prints(secret: Secret):
    value = secret.reveal()
    print("printed", value)
    print(value, file=sys.stderr, flush=True)
    sys.stdout.write(value[:5])
    sys.stdout.write(value[5:] + "\\n")
    json.dump({"dumped": [value]}, sys.stdout, ensure_ascii=False)
    sys.stdout.buffer.write(("bytes " + value + "\\n").encode())
    logging.info("logged %s", value)
    log.info("logged %s", value)

@activity
def passes_streams_by(secret: Secret):
    value = secret.reveal()
    for fd in (1, 2):
        os.write(fd, f"descriptor {value}\\n".encode())
    subprocess.run(["sh", "-c", 'echo "child $DB_PASSWORD"'])
    sys.__stderr__.write(f"dunder {value}\\n")
    print("parts " + value[:9], end="", flush=True)
    print(value[9:], flush=True)
    print("." * 8180 + value, end="")
    print()

@activity
def as_bytes(secret: Secret, before: str) -> bytes:
    return before.encode() + secret.reveal().encode()

@activity(process=True)
def elsewhere(secret: Secret) -> list:
    value = secret.reveal()
    print("elsewhere", value)
    heartbeat([value])
    sys.stdout.buffer.write(f"elsewhere bytes {value}\\n".encode())
    sys.stdout.flush()
    os.write(1, f"elsewhere descriptor {value}\\n".encode())
    subprocess.run(["sh", "-c", 'echo "elsewhere child $DB_PASSWORD"'])
    print("elsewhere parts " + value[:9], end="", flush=True)
    print(value[9:])
    return [value, value.encode()]

@activity(process=True)
def knows_one_more() -> int:
    return len(Secret("env:TOKEN").reveal())

@activity(process=True)
def raises_elsewhere(secret: Secret):
    raise LeakyError("x" * 8180 + secret.reveal())

@activity
def cut_in_two(secret: Secret):
    raise ValueError("x" * 8180 + secret.reveal())

async def attempted(call):
    try:
        return await call
    except Exception as error:
        return [error.message, error.type, str(error.details), str(error.cause)]

@workflow
async def leaky(secret: Secret):
    found = [await returns(secret), await attempted(raises(secret))]
    await prints(secret)
    await passes_streams_by(secret)
    found += [str(await as_bytes(secret, "x" * n)) for n in range(3)]
    found.append(await elsewhere(secret))
    await knows_one_more()
    found.append((await shell("echo $TOKEN")).stdout)
    found.append(await attempted(raises_elsewhere(secret)))
    found.append(await attempted(cut_in_two(secret)))
    found.append((await shell('printf "%s\\\\n" "$DB_PASSWORD" "$DB_PASSWORD" >&2; printf %s "$DB_PASSWORD"')).stdout)
    found.append(await attempted(shell('printf %s "$DB_PASSWORD" >&2; head -c 1980 /dev/zero >&2; exit 3')))
    set_tags(found=json.dumps(found[0]))
    set_progress(1, 2, str(found[0]))
    print("workflow", found[0])
    raise LeakyError(str(found))
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    (tmp_path / "deploy.key").write_text("deploy-key-of-two\nlines-that-are-long\n")
    project.write(LEAKY, "workflows/leaky.py")
    return project


@pytest.fixture(autouse=True)
def nothing_is_kept_from_test_to_test() -> None:
    masks.clear()
    codec.codec_from_environment.cache_clear()


ENVIRON = {"DB_PASSWORD": VALUE, "TOKEN": "token-of-nobody-else"}
PARTS = ["hunter22", "quoted", "slashed", "étroit", "\\u00e9troit", "deploy-key-of", "lines-that-are", "token-of"]
IN_BASE64 = [
    "aHVudGVyMj",
    "h1bnRlcjIy",
    "odW50ZXIyM",
]  # how "hunter22" begins, at each of three places


def traces_in(text: str) -> list[str]:
    """Which parts of the secrets a text holds."""
    return [part for part in (*PARTS, *IN_BASE64) if part in text]


def everything_on_disk(project: Project) -> str:
    files = [path for path in project.histories.rglob("*") if path.is_file()]
    return "\n".join([*map(str, files), *(path.read_bytes().decode("utf-8", "replace") for path in files)])


def test_a_revealed_value_is_nowhere_on_disk_and_on_no_stream(project: Project) -> None:
    done = project.aion("-v", "run", "leaky", "--id", "r", "--input", '"env:DB_PASSWORD"', environ=ENVIRON)
    assert done.code == 1, done
    names = project.names("r")
    assert names.count("ActivityFailed") == 5
    assert {"ActivityHeartbeat", "TagsSet", "ProgressSet", "WorkflowFailed"} <= set(names)
    assert done.stderr.count("***") > 10
    for said in (
        *("printed ***", "dumped", "bytes ***", "logged ***", "elsewhere ***", "workflow {", "descriptor ***"),
        *("child ***", "dunder ***", "parts ***", "elsewhere bytes ***", "elsewhere descriptor ***"),
        *("elsewhere child ***", "elsewhere parts ***"),
    ):
        assert said in done.stderr
    assert traces_in(done.stdout + done.stderr) == []
    assert traces_in(everything_on_disk(project)) == []
    assert "env:DB_PASSWORD" in everything_on_disk(project)
    for command in (
        ["replay", "r"],
        ["-o", "json", "run", "leaky", "--id", "r"],
        ["show", "r"],
        ["-o", "jsonl", "list"],
    ):
        again = project.here(*command)
        assert again.code in (0, 1)
        assert traces_in(again.stdout + again.stderr) == []
    assert project.here("replay", "r").code == 0


def test_what_a_child_process_prints_on_a_terminal_is_masked(project: Project) -> None:
    project.write(
        """
        import os, subprocess
        from aion_cli import Secret

        @activity
        def prints(secret: Secret):
            os.write(2, ("descriptor " + secret.reveal()).encode() + bytes([10]))
            subprocess.run(["sh", "-c", 'echo "child $DB_PASSWORD"'])

        @workflow
        async def shown(secret: Secret):
            await prints(secret)
    """,
        "workflows/shown.py",
    )
    for quiet in ([], ["--quiet"]):
        line = [*quiet, "run", "shown", "--input", '"env:DB_PASSWORD"']
        with OnTerminal(project, *line, width=80, DB_PASSWORD=VALUE) as terminal:
            code, _, lines = terminal.end()
        assert code == 0
        text = "".join(lines)
        assert "descriptor ***" in text
        assert "child ***" in text
        assert traces_in(text) == []


def test_what_a_process_that_was_left_behind_prints_does_not_end_it(project: Project) -> None:
    project.write(
        """
        import subprocess
        from aion_cli import Secret

        @activity
        def leaves(secret: Secret):
            secret.reveal()
            subprocess.Popen(["sh", "-c", "read line; echo left; echo left; touch alive"], stdin=subprocess.PIPE)

        @workflow
        async def daemon(secret: Secret):
            await leaves(secret)
    """,
        "workflows/daemon.py",
    )
    done = project.aion("run", "daemon", "--input", '"env:DB_PASSWORD"', environ=ENVIRON)
    assert done.code == 0, done
    give_up_at = time.monotonic() + 30
    while not (project.root / "alive").exists():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2048, reason="so many files cannot be open here")
def test_a_process_with_many_open_files_masks_what_is_printed(project: Project) -> None:
    project.write(
        """
        import os, pathlib, resource
        from aion_cli import Secret

        @activity
        def opens(secret: Secret):
            resource.setrlimit(resource.RLIMIT_NOFILE, (2048, 2048))
            files = [open(os.devnull) for _ in range(1100)]
            pathlib.Path("late.key").write_text(os.environ["DB_PASSWORD"])
            value = secret.reveal()
            os.write(1, f"descriptor {value} {'.' * 100_000}\\n".encode())
            os.write(1, f"again {value}\\n".encode())

        @workflow
        async def many(secret: Secret):
            await opens(secret)
    """,
        "workflows/many.py",
    )
    done = project.aion("run", "many", "--input", '"file:late.key"', environ=ENVIRON)
    assert (done.code, "again ***" in done.stderr) == (0, True), done
    assert traces_in(done.stderr) == []


def test_a_narrow_terminal_does_not_break_a_value_so_that_it_shows(project: Project) -> None:
    project.write(
        """
        from aion_cli import Secret

        @activity
        def prints(secret: Secret):
            for before in range(45):
                print("." * before + secret.reveal())

        @workflow
        async def narrow(secret: Secret):
            await prints(secret)
    """,
        "workflows/narrow.py",
    )
    with OnTerminal(project, "run", "narrow", "--input", '"env:DB_PASSWORD"', width=40, DB_PASSWORD=VALUE) as terminal:
        code, _, lines = terminal.end()
    assert code == 0
    assert "".join(lines).count("***") >= 45
    assert traces_in("".join(lines)) == []


def test_what_an_earlier_process_revealed_is_masked_in_the_next_one(project: Project) -> None:
    project.write(
        """
        from aion_cli import Secret, shell

        @activity
        def connects(secret: Secret):
            return len(secret.reveal())

        @workflow
        async def resumed(secret: Secret):
            await connects(secret)
            await asyncio.sleep(0.05)
            return (await shell("printf %s \\"$DB_PASSWORD\\"")).stdout
    """,
        "workflows/resumed.py",
    )
    line = ["run", "resumed", "--id", "r", "--input", '"env:DB_PASSWORD"']
    assert project.aion(*line, "--until-blocked", environ=ENVIRON).code == 3
    done = project.aion(*line, environ=ENVIRON)
    assert (done.code, done.stdout) == (0, '"***"\n')
    assert traces_in(everything_on_disk(project)) == []


def test_a_value_that_is_also_an_ordinary_word_does_not_part_a_run_from_its_history(project: Project) -> None:
    project.write(
        """
        from aion_cli import Secret

        @activity
        def connects(user: str, secret: Secret):
            secret.reveal()

        @activity
        def postgres(user: str) -> str:
            return "hello " + user

        go = Signal("postgres", str)

        @workflow
        async def child(user: str):
            return "child of " + user

        @workflow
        async def word(user: str, secret: Secret):
            await connects(user, secret)
            found = [await postgres(user), await child(user), await go.receive()]
            return [user, *found]
    """,
        "workflows/word.py",
    )
    given = json.dumps({"user": "postgres", "secret": "env:DB_PASSWORD"})
    environ = {"DB_PASSWORD": "postgres"}
    line = ["run", "word", "--id", "r", "--input", given]
    assert project.here(*line, "--until-blocked", environ=environ).code == 3
    for _ in range(2):  # a repeat is recognised although its payload holds the value
        assert project.here("signal", "r", "postgres", '"from postgres"', "--id", "k").code == 0
    done = project.here(*line, environ=environ)
    assert done.code == 0, done
    assert json.loads(done.stdout) == ["postgres", "hello ***", "child of postgres", "from postgres"]
    assert project.here("signal", "r", "postgres", '"from postgres"', "--id", "k").code == 0
    assert project.here("replay", "r").code == 0


def test_reveal_in_workflow_code_is_refused_and_tells_nothing(project: Project) -> None:
    project.write(
        """
        from aion_cli import Secret

        @workflow
        async def peeks(secret: Secret):
            return secret.reveal()
    """,
        "workflows/peeks.py",
    )
    done = project.here("run", "peeks", "--id", "r", "--input", '"env:DB_PASSWORD"', environ=ENVIRON)
    assert done.code == 1
    assert "revealed outside of an activity" in done.stderr
    assert traces_in(everything_on_disk(project) + done.stderr) == []


def test_a_value_given_in_place_of_a_reference_is_refused_before_anything_is_recorded(project: Project) -> None:
    done = project.here("run", "leaky", "--id", "r", "--input", json.dumps(VALUE))
    assert done.code == 2
    assert traces_in(done.stdout + done.stderr) == []
    assert not project.histories.exists()


def test_a_replay_looks_at_no_secret(project: Project) -> None:
    project.aion("run", "leaky", "--id", "r", "--input", '"env:DB_PASSWORD"', environ=ENVIRON)
    path = project.root / "deploy.key"
    path.unlink()
    os.mkfifo(path)  # who opens it to read waits for ever
    assert project.aion("replay", "r").code == 0


def test_the_last_words_of_a_process_that_hangs_get_out(project: Project) -> None:
    project.write(
        """
        import time
        from aion_cli import Secret

        @activity
        async def hangs(secret: Secret):
            print("got", secret.reveal(), flush=True)
            while True:
                try:
                    time.sleep(60)
                except BaseException:
                    pass

        @workflow
        async def stuck(secret: Secret):
            await hangs(secret)
    """,
        "workflows/stuck.py",
    )
    line = ["run", "stuck", "--id", "r", "--input", '"env:DB_PASSWORD"', "--grace", "0.1"]
    with project.start(*line, environ=ENVIRON) as running:
        running.until_stderr_says("got ***")
        running.signal(signal.SIGTERM)
        done = running.end()
    assert done.code == 143
    assert "go on with: aion run" in done.stderr.splitlines()[-1]
    assert traces_in(done.stderr) == []


@pytest.mark.parametrize("kind", [ValueError, StoreError])
def test_an_error_of_ours_that_holds_a_value_is_masked_on_both_streams(
    project: Project, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def broken(settings: object, request: object) -> int:
        masks.add(VALUE)
        raise kind(f"cannot list {VALUE}")

    monkeypatch.setattr(inspect, "list_command", broken)
    done = project.here("-v", "-o", "json", "list")
    assert done.code in (10, 70)
    assert "***" in done.stdout
    assert "***" in done.stderr
    assert traces_in(done.stdout + done.stderr) == []


# At rest

PAYLOADS = """
import time
from aion_cli import send_signal, shell

@activity
def work(text: str) -> str:
    if text == "needle-fail":
        raise ValueError("broken")
    return "needle-result" + "x" * 300_000

@workflow
async def other(text: str) -> str:
    return text

go = Signal("go", str)

@workflow
async def sealed(text: str) -> str:
    found = await work(text)
    await other("needle-child")
    return found[:13] + await go.receive()
"""


@pytest.fixture
def key() -> dict[str, str]:
    return {"AION_CODEC": "aion_cli.codecs:FernetCodec", "AION_CODEC_KEY": Fernet.generate_key().decode()}


def typed(project: Project, line: str, environ: dict[str, str]) -> Done:
    """Type a line in this process, as one that was started with this environment."""
    codec.codec_from_environment.cache_clear()
    return project.here(*shlex.split(line), environ=environ)


def test_with_a_codec_no_payload_can_be_read_on_disk_and_all_commands_work(
    project: Project, key: dict[str, str]
) -> None:
    project.write(PAYLOADS, "workflows/sealed.py")
    run = "run sealed --id r --input '\"needle-input\"'"
    assert typed(project, f"{run} --until-blocked", key).code == 3
    owner = project.histories / ".aion" / "locks" / "r.lock"
    assert owner.exists()
    assert typed(project, "signal r go '\"needle-signal\"' --id k", key).code == 0
    assert typed(project, "signal r go '\"needle-signal\"' --id k", key).code == 0
    assert typed(project, "signal r go '\"another\"' --id k", key).code == 2
    done = typed(project, run, key)
    assert (done.code, done.stdout) == (0, '"needle-resultneedle-signal"\n')
    assert typed(project, "replay r", key).code == 0
    assert typed(project, run, key).stdout == done.stdout
    assert "needle-input" in typed(project, "show r", key).stdout
    assert "needle" not in everything_on_disk(project)
    assert (project.histories / ".aion" / "blobs").is_dir()


def test_neither_a_message_that_waits_nor_a_torn_tail_can_be_read(project: Project, key: dict[str, str]) -> None:
    project.write(PAYLOADS, "workflows/sealed.py")
    run = "run sealed --id r --input '\"needle-input\"'"
    assert typed(project, f"{run} --until-blocked", key).code == 3
    with take(HistoriesFolder(project.histories), "r", Role.RUN):
        assert typed(project, "signal r go '\"needle-signal\"'", key).code == 0
    assert len(list((project.histories / ".aion" / "inbox" / "r").glob("*.json"))) == 1
    history = project.history("r").read_bytes()
    project.history("r").write_bytes(history[:-100])
    assert "needle" not in everything_on_disk(project)
    done = typed(project, run, key)
    assert (done.code, done.stdout) == (0, '"needle-resultneedle-signal"\n')
    assert (project.histories / ".aion" / "torn").is_dir()
    assert "needle" not in everything_on_disk(project)


@pytest.mark.parametrize("wrong", [False, True], ids=["without-a-codec", "with-another-key"])
def test_without_the_key_commands_say_so_and_write_nothing(project: Project, key: dict[str, str], wrong: bool) -> None:
    project.write(PAYLOADS, "workflows/sealed.py")
    assert typed(project, "run sealed --id r --input '\"needle-input\"' --until-blocked", key).code == 3
    environ = key | {"AION_CODEC_KEY": Fernet.generate_key().decode()} if wrong else {}
    before = project.snapshot()
    lines = ["run sealed --id r", "replay r", "show r"]
    if not wrong:  # with a key of its own, a message is sealed and accepted
        lines += ["signal r go '\"plain\"'", "cancel r"]
    for line in lines:
        done = typed(project, line, environ)
        assert done.code == 2, (line, done)
        assert "error[codec]" in done.stderr
        assert "AION_CODEC" in done.stderr or "key" in done.stderr
    assert project.snapshot() == before
    assert typed(project, "verify r", environ).code == 0
    listed = typed(project, "list", environ)
    assert (listed.code, "waiting" in listed.stdout) == (0, True)


def test_a_history_without_a_codec_can_be_gone_on_with_under_one(project: Project, key: dict[str, str]) -> None:
    project.write(PAYLOADS, "workflows/sealed.py")
    run = "run sealed --id r --input '\"plain-input\"'"
    assert typed(project, f"{run} --until-blocked", {}).code == 3
    assert typed(project, "signal r go '\"needle-signal\"'", key).code == 0
    assert typed(project, run, key).code == 0
    assert typed(project, "replay r", key).code == 0
    assert "needle-signal" not in everything_on_disk(project)
