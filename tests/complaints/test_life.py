"""The life of a run: shutdowns, cancellations, exceptions, waits, and effects whose record was lost."""

from __future__ import annotations

import asyncio
import signal

import msgspec
import pytest

from aion_cli import ActivityInterrupted, RetryPolicy, Signal, activity, activity_info, workflow
from aion_cli.core import events as ev
from aion_cli.runtime.executor import InProcessExecutor
from aion_cli.testing import crash_everywhere, run_workflow
from aion_cli.testing.loop import SkippingLoop
from tests.cli.support import Project
from tests.primitives.stage import RUN, Performance, cancels, sends

CLEANS_UP = """
    approval = Signal("approval", bool)

    @activity
    async def charge() -> str:
        note("charge")
        return "r1"

    @activity
    async def refund(receipt: str) -> None:
        note(f"refund {receipt}")

    @workflow
    async def careful() -> bool:
        receipt = await charge()
        try:
            return await approval.receive()
        finally:
            await refund(receipt)
"""


# --- 8, 9: a process that ends is no run that ends


@pytest.mark.complaint(8)
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 143)], ids=str
)
def test_a_shutdown_leaves_the_run_open_and_is_no_cancellation(
    project: Project, number: signal.Signals, code: int
) -> None:
    """Row 8: what the process is told is not told to the workflow."""
    project.write(CLEANS_UP)
    with project.start("run", "careful", "--id", "c1") as owner:
        owner.until_stderr_says("waits for signal approval")
        owner.signal(number)
        assert owner.end().code == code
    assert project.names("c1") == ["WorkflowStarted", "ActivityScheduled", "ActivityStarted", "ActivityCompleted"]
    (run,) = project.here("list", "-o", "json").document
    assert run["status"] == "waiting"


@pytest.mark.complaint(9)
def test_the_finally_of_a_run_that_is_left_open_does_nothing_and_runs_once_when_the_run_really_ends(
    project: Project,
) -> None:
    """Row 9: code that is abandoned is closed at once, by us, and what it asks for then is refused."""
    project.write(CLEANS_UP)
    for _ in range(2):
        assert project.here("run", "careful", "--id", "c1", "--until-blocked").code == 3
        assert project.here("replay", "c1").code == 0
    assert (project.world, len(project.events("c1"))) == (["charge"], 4)
    assert project.here("signal", "c1", "approval", "true").code == 0
    assert project.here("run", "careful", "--id", "c1").code == 0
    assert project.world == ["charge", "refund r1"]


# --- 10: cancellation

go = Signal("go", bool)


@activity
async def charge(sku: str) -> str:
    return f"receipt of {sku}"


@activity
async def refund(receipt: str) -> None:
    del receipt


async def takes_a_minute(sku: str) -> str:
    await asyncio.sleep(60)
    return f"receipt of {sku}"


@workflow
async def charges_and_ships() -> str:
    receipt = await charge("A1")
    try:
        await go.receive()
    finally:
        await refund(receipt)
    return receipt


@pytest.mark.complaint(10)
@pytest.mark.parametrize("after_s", [59.999999, 60, 60.000001])
def test_a_cancellation_at_the_moment_in_which_an_activity_ends_is_delivered_at_the_next_await(
    loop: SkippingLoop, after_s: float
) -> None:
    """Row 10: it is recorded, and neither it nor the recorded result is lost, wherever the run crashes."""
    performance = Performance(loop, charges_and_ships, (), {charge: takes_a_minute}, (cancels(after_s),))
    assert performance.end == ("WorkflowCancelled", "enough")
    refunds = [event for event in performance.events if getattr(event, "activity_type", "") == "refund"]
    was_charged = any(
        isinstance(event, ev.ActivityCompleted) and event.activity_id == 0 for event in performance.events
    )
    assert len(refunds) == was_charged
    assert all(ends == performance.ends for _, ends in performance.crashes())


@workflow
async def shields_its_charge() -> str:
    charging = asyncio.ensure_future(charge("A1"))
    try:
        return await asyncio.shield(charging)
    except asyncio.CancelledError:
        await refund(await charging)
        raise


@pytest.mark.complaint(10)
def test_what_is_shielded_goes_on_and_its_result_can_be_had_after_the_cancellation(loop: SkippingLoop) -> None:
    """Row 10: `shield` is that of asyncio."""
    performance = Performance(loop, shields_its_charge, (), {charge: takes_a_minute}, (cancels(30),))
    assert performance.end == ("WorkflowCancelled", "enough")
    names = [type(event).__name__ for event in performance.events]
    assert "ActivityCancelled" not in names
    assert names.count("ActivityCompleted") == 2
    assert all(ends == performance.ends for _, ends in performance.crashes())


@workflow
async def has_a_deadline_in_a_deadline() -> list[object]:
    seen: list[object] = []
    main = asyncio.current_task()
    assert main is not None
    try:
        async with asyncio.timeout(10):
            await go.receive()
    except TimeoutError:
        seen += ["late", main.cancelling()]
    try:
        async with asyncio.timeout(100):
            await go.receive()
    except asyncio.CancelledError:
        seen += ["cancelled", main.cancelling()]
        main.uncancel()
    async with asyncio.timeout(1000):
        seen += [await go.receive(), main.cancelling()]
    return seen


@pytest.mark.complaint(10)
def test_a_deadline_takes_back_its_own_cancellation_and_no_other(loop: SkippingLoop) -> None:
    """Row 10: `timeout`, `cancelling` and `uncancel` keep count as in asyncio; code that takes it back goes on."""
    messages = (cancels(50), sends("go", True, after_s=60))
    performance = Performance(loop, has_a_deadline_in_a_deadline, (), {}, messages)
    assert performance.end == ("WorkflowCompleted", ["late", 0, "cancelled", 1, True, 0])
    assert all(ends == performance.ends for _, ends in performance.crashes())


# --- 14: exceptions


@pytest.mark.complaint(14)
def test_an_exception_of_workflow_code_fails_the_run_and_repeats_nothing() -> None:
    """Row 14: it is the author's, so it is the outcome."""
    attempts: list[int] = []

    @workflow
    async def wrong() -> str:
        receipt = await charge("A1")
        return receipt[:99] + str(int(receipt))

    def counts(sku: str) -> str:
        attempts.append(activity_info().attempt)
        return sku

    with pytest.raises(ValueError, match="invalid literal"):
        run_workflow(wrong, activities={charge: counts})
    assert attempts == [1]


@pytest.mark.complaint(14)
def test_a_fault_of_the_engine_is_no_outcome_of_the_run(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 14: the history stays as it is, and the next process goes on."""
    project.write(
        """
        @workflow
        async def naps() -> str:
            await asyncio.sleep(0.001)
            return "slept"
        """
    )

    async def breaks(*_: object) -> None:
        raise RuntimeError("a bug of aion")

    with monkeypatch.context() as patch:
        patch.setattr(InProcessExecutor, "start_timer", breaks)
        assert project.here("run", "naps", "--id", "n1").code == 70
    assert project.names("n1") == ["WorkflowStarted", "TimerStarted"]
    assert project.here("run", "naps", "--id", "n1", "-q") == (0, '"slept"\n', "")


# --- 29: waits

WAITS = """
    from aion_cli import RetryPolicy, wait_until

    approval = Signal("approval", bool)

    @activity(retry=RetryPolicy(initial=3600, jitter=0))
    async def flaky() -> None:
        raise ConnectionError("not now")

    @workflow
    async def child() -> bool:
        return await approval.receive()

    @workflow
    async def waits() -> None:
        await asyncio.gather(
            flaky(),
            asyncio.sleep(7200),
            child(),
            approval.receive(),
            wait_until(lambda: False),
        )
"""


@pytest.mark.complaint(29)
def test_list_shows_everything_that_a_run_waits_for_with_or_without_a_timer(project: Project) -> None:
    """Row 29: a retry, a timer, a child, a signal and a condition; `why` will say the same at length."""
    project.write(WAITS)
    with project.start("run", "waits", "--id", "w1") as owner:
        owner.until_stderr_says("flaky (0) failed")
        owner.signal(signal.SIGTERM)
        owner.end()
    result = project.here("result", "w1", "-o", "json").document
    (listed,) = [run for run in project.here("list", "-o", "json").document if run["workflow_id"] == "w1"]
    waits = [("retry", "flaky"), ("timer", "0"), ("child", "w1.1-5"), ("signal", "approval"), ("condition", "")]
    for run in (result, listed):
        assert [(wait["kind"], wait["name"]) for wait in run["waiting"]] == waits
        assert all(wait["where"].startswith("workflows/order.py:") for wait in run["waiting"])


# --- 30: effects without a record


class Shop(msgspec.Struct):
    """A service outside. It keeps what was charged by the key that came with it."""

    charged: dict[str, str] = {}
    calls: int = 0

    def charge(self, sku: str) -> str:
        self.calls += 1
        return self.charged.setdefault(activity_info().idempotency_key, f"receipt of {sku}")


@workflow
async def charges(times: int) -> list[str]:
    return [await charge("A1") for _ in range(times)]


@pytest.mark.complaint(30)
def test_an_effect_whose_record_a_crash_took_is_repeated_under_the_key_that_it_had() -> None:
    """Row 30: so a service that knows keys does it once; and another call has another key."""
    shop = Shop()
    crash_everywhere(charges, 1, activities={charge: shop.charge})
    assert (len(shop.charged), shop.calls > 2) == (1, True)
    shop = Shop()
    run_workflow(charges, 2, activities={charge: shop.charge})
    assert (len(shop.charged), shop.calls) == (2, 2)


@activity(at_most_once=True, retry=RetryPolicy(max_attempts=5))
async def pay(sku: str) -> str:
    raise AssertionError(f"{sku} was really paid")


@workflow
async def pays() -> str:
    try:
        return await pay("A1")
    except ActivityInterrupted:
        return "ask the bank"


@pytest.mark.complaint(30)
def test_an_effect_that_must_not_be_repeated_is_not_and_the_workflow_is_told_that_nobody_knows(
    loop: SkippingLoop,
) -> None:
    """Row 30: `at_most_once`."""
    attempts: list[int] = []

    def pays_once(sku: str) -> str:
        attempts.append(activity_info().attempt)
        return f"paid {sku}"

    performance = Performance(loop, pays, (), {pay: pays_once}, ())
    ends = [ends[RUN] for _, ends in performance.crashes()]
    assert set(attempts) == {1}
    assert ("WorkflowCompleted", "ask the bank") in ends
    assert set(ends) == {("WorkflowCompleted", "ask the bank"), ("WorkflowCompleted", "paid A1")}
