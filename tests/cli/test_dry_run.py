"""`aion run --dry-run`: what would be done, with nothing done."""

from __future__ import annotations

import pytest

from tests.cli.support import Project

ORDER = """
    go = Signal("go", bool)

    @activity
    def charge(sku: str, cents: int) -> str:
        note(f"charge {sku}")
        return f"receipt-{sku}"

    @workflow
    async def order(sku: str, cents: int = 100) -> bool:
        await charge(sku, cents)
        return await go.receive()
"""


@pytest.fixture
def orders(project: Project) -> Project:
    project.write(ORDER)
    return project


def untouched(project: Project, *line: str) -> tuple[int, str, str]:
    """Run a line that must leave everything as it was: the folder, and the world."""
    before = project.snapshot(), sorted(project.root.rglob("*"))
    done = project.here(*line)
    assert (project.snapshot(), sorted(project.root.rglob("*"))) == before
    return done


def test_a_new_run_is_described_with_its_whole_input_and_the_first_thing_it_would_do(orders: Project) -> None:
    line = ("run", "order", "--id", "order-1", "-p", "sku=A1", "--dry-run")
    place, definition = orders.line_of("await charge"), orders.line_of("@workflow")
    assert untouched(orders, *line) == (
        0,
        "would start order-1\n"
        f"  workflow   order  {definition}\n"
        '  input      {"sku":"A1","cents":100}\n'
        "  history    histories/order-1.jsonl\n"
        f'  then       activity "charge" (0) with {{"sku":"A1","cents":100}}  {place}\n',
        "",
    )


def test_a_script_gets_the_plan_as_one_object(orders: Project) -> None:
    done = orders.here("run", "order", "--id", "order-1", "-p", "sku=A1", "--dry-run", "-o", "json")
    assert (done.code, done.stderr) == (0, "")
    plan = done.document
    assert (plan["action"], plan["run"], plan["workflow"], plan["input"]) == (
        *("start", "order-1", "order"),
        {"sku": "A1", "cents": 100},
    )
    assert [(step["command"], step["at"], step["recorded"]) for step in plan["next"]] == [
        ("RunActivity", orders.line_of("await charge"), False)
    ]


def test_without_an_id_the_plan_names_none(orders: Project) -> None:
    plan = orders.here("run", "order", "-p", "sku=A1", "--dry-run", "-o", "json").document
    assert (plan["run"], plan["history"]) == (None, None)
    assert untouched(orders, "run", "order", "-p", "sku=A1", "--dry-run")[1].startswith(
        "would start a run with a fresh id\n"
    )


def test_an_open_run_is_replayed_to_say_where_it_would_go_on(orders: Project) -> None:
    assert orders.here("run", "order", "--id", "order-1", "-p", "sku=A1", "--until-blocked").code == 3
    code, out, err = untouched(orders, "run", "order", "--id", "order-1", "--dry-run")
    assert (code, err, orders.world) == (0, "", ["charge A1"])
    assert out.startswith("would go on with order-1\n")
    assert "  history    histories/order-1.jsonl, 4 events\n" in out
    assert out.endswith(f'  waits for  signal "go" (0)  {orders.line_of("go.receive")}\n')


def test_an_activity_that_a_crash_cut_off_would_be_done_again(orders: Project) -> None:
    orders.here("run", "order", "--id", "order-1", "-p", "sku=A1", "--until-blocked")
    path = orders.history("order-1")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    out = untouched(orders, "run", "order", "--id", "order-1", "--dry-run")[1]
    assert '  again      activity "charge" (0) with ' in out


def test_a_closed_run_would_only_be_printed(orders: Project) -> None:
    orders.here("run", "order", "--id", "order-1", "-p", "sku=A1", "--until-blocked")
    orders.here("signal", "order-1", "go", "true")
    assert orders.here("run", "order", "--id", "order-1").code == 0
    code, out, _ = untouched(orders, "run", "order", "--id", "order-1", "--dry-run")
    assert code == 0
    assert out.startswith("would do nothing with order-1\n")
    assert out.endswith("  status     completed: its recorded outcome would be printed\n")


def test_if_exists_new_says_which_id_it_would_take(orders: Project) -> None:
    orders.here("run", "order", "--id", "order-1", "-p", "sku=A1", "--until-blocked")
    line = ("run", "order", "--id", "order-1", "-p", "sku=B2", "--if-exists", "new", "--dry-run", "-o", "json")
    assert orders.here(*line).document["run"] == "order-1-2"


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        (("nope", "-p", "sku=A1"), 2, "there is no workflow nope"),
        (("order", "--id", "a/b", "-p", "sku=A1"), 2, "'a/b' cannot be a workflow id"),
        (("order", "--id", "x"), 2, "needs a value for its parameter `sku`"),
        (("order", "--id", "x", "-p", "sku:=7"), 2, "Expected `str`, got `int`"),
        (("order", "--id", "order-1", "-p", "sku=B2"), 8, "order-1 was started with another input"),
        (("order", "--id", "order-1", "--if-exists", "fail", "-p", "sku=A1"), 8, "there is a run order-1 already"),
        (("order", "--id", "ORDER-1", "-p", "sku=A1"), 2, "ORDER-1 differs only in case from order-1"),
    ],
)
def test_what_a_run_would_refuse_is_refused(orders: Project, line: tuple[str, ...], code: int, message: str) -> None:
    assert orders.here("run", "order", "--id", "order-1", "-p", "sku=A1", "--until-blocked").code == 3
    found = untouched(orders, "run", *line, "--dry-run")
    assert (found[0], found[1]) == (code, "")
    assert message in found[2]


def test_a_run_that_no_longer_matches_its_code_is_exit_code_4(orders: Project) -> None:
    orders.here("run", "order", "--id", "order-1", "-p", "sku=A1", "--until-blocked")
    path = orders.root / "workflows/order.py"
    path.write_text(path.read_text().replace("await charge(sku, cents)", "await charge(sku, 7)"))
    code, out, err = untouched(orders, "run", "order", "--id", "order-1", "--dry-run")
    assert (code, out) == (4, "")
    assert "histories/order-1.jsonl:2" in err


def test_a_damaged_run_is_exit_code_5(orders: Project) -> None:
    orders.here("run", "order", "--id", "order-1", "-p", "sku=A1", "--until-blocked")
    path = orders.history("order-1")
    path.write_bytes(path.read_bytes().replace(b'"receipt-A1"', b'"receipt-A2"'))
    assert untouched(orders, "run", "order", "--id", "order-1", "--dry-run")[0] == 5


def test_both_ways_to_look_are_explained(project: Project) -> None:
    shown = " ".join(project.here("run", "--help").stdout.split())
    assert "--dry-run Check target, id and input, print what would be done, and do nothing." in shown
    assert "--audit Replay it at the end under other hash seeds; exit 4 if a replay diverges." in shown
