"""Functions become definitions, and calls of definitions become commands."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from aion_cli import RetryPolicy, activity, start_child, workflow
from aion_cli.api.definitions import ActivityDefinition, WorkflowDefinition
from aion_cli.core import commands as cmd
from aion_cli.errors import AionError, ContinueAsNew, PayloadError, UsageError
from tests.builders import history, line_of, raw, replay_of, started


@activity
def charge(sku: str, cents: int = 5) -> str:
    """Take the money."""
    return f"{sku}:{cents}"


@activity(name="post.office-2", timeout=timedelta(minutes=1))
async def ship(sku: str) -> str:
    return sku


@workflow
async def order(sku: str) -> str:
    """Buy one."""
    return await charge(sku)


@workflow(name="order-v2", timeout=60)
async def order_again(sku: str) -> str:
    return await charge(sku)


def test_a_definition_is_known_by_its_functions_name_or_by_the_one_it_was_given() -> None:
    assert [one.name for one in (charge, ship, order, order_again)] == ["charge", "post.office-2", "order", "order-v2"]


def test_a_definition_keeps_the_function_its_docstring_and_its_place() -> None:
    assert charge.fn("A1", 7) == "A1:7"
    assert charge.__doc__ == "Take the money."
    assert inspect.signature(charge) == inspect.signature(charge.fn)
    assert f"{order.file}:{order.line}" == line_of(order.fn, 0)
    assert charge.module == __name__
    assert repr(charge) == f"<ActivityDefinition charge at {line_of(charge.fn, 0)}>"


def test_plain_functions_are_told_from_async_ones() -> None:
    assert (charge.is_async, ship.is_async) == (False, True)


@pytest.mark.parametrize("name", ["", "1st", "with space", "a/b", "ä", "x" * 121, "new\nline"])
def test_a_name_that_could_not_stand_in_a_history_is_refused_with_its_place(name: str) -> None:
    def fn() -> None:
        pass

    if not name:
        fn.__name__ = ""
    with pytest.raises(UsageError, match="cannot be the name") as caught:
        activity(name=name)(fn)
    assert caught.value.where == (line_of(fn, 0),)


def test_a_lambda_needs_a_name() -> None:
    with pytest.raises(UsageError, match="<lambda>"):
        activity(lambda: None)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType] - that is what is refused
    assert activity(name="nothing")(lambda: None).name == "nothing"


def test_a_workflow_has_to_be_async() -> None:
    def plain() -> None:
        pass

    broken: Any = plain
    with pytest.raises(UsageError, match="not an `async def` function") as caught:
        workflow(broken)
    assert caught.value.where == (line_of(plain, 0),)


def test_a_function_with_a_variable_number_of_parameters_is_refused() -> None:
    def many(*skus: str) -> None:
        pass

    with pytest.raises(UsageError, match=r"takes \*skus"):
        activity(many)


def test_decorated_functions_are_looked_through() -> None:
    def twice(fn: Any) -> Any:
        @functools.wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return fn(*args, **kwargs)

        return wrapper

    @activity
    @twice
    def inner(sku: str) -> str:
        return sku

    assert inner.name == "inner"
    assert inner.signature.parameter_names == ("sku",)
    assert inner.line == inspect.unwrap(inner.fn).__code__.co_firstlineno


# --- options


def test_options_of_one_call_leave_the_activity_as_it_is() -> None:
    policy = RetryPolicy(max_attempts=7)
    once = ship.options(retry=policy, at_most_once=True)
    assert isinstance(once, ActivityDefinition)
    assert (once.name, once.fn) == (ship.name, ship.fn)
    assert (once.settings.retry, once.settings.at_most_once, once.settings.timeout_s) == (policy, True, 60.0)
    assert (ship.settings.at_most_once, ship.settings.timeout_s) == (False, 60.0)


@pytest.mark.parametrize("wrong", [{"timeout": 0}, {"total_timeout": -1}, {"timeout": float("nan")}])
def test_a_limit_that_is_not_positive_is_refused_where_it_is_written(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="must be positive"):
        activity(**wrong)(charge.fn)  # pyright: ignore[reportArgumentType, reportCallIssue] - one wrong option at a time
    with pytest.raises(UsageError, match="must be positive"):
        charge.options(**wrong)  # pyright: ignore[reportArgumentType] - one wrong option at a time


def test_a_workflow_may_have_a_limit_of_time() -> None:
    assert (order.timeout_s, order_again.timeout_s) == (None, 60.0)
    with pytest.raises(UsageError, match="must be positive"):
        workflow(timeout=0)


# --- calls


def first_commands(definition: WorkflowDefinition[..., Any], input: object = None) -> list[cmd.AnyCommand]:
    replay = replay_of(definition, history(started(input)))
    unmatched = replay.run().unmatched
    replay.execution.close()
    return unmatched


def test_a_call_emits_its_command_when_it_is_first_run_with_defaults_applied() -> None:
    assert first_commands(order, "A1") == [
        cmd.RunActivity(
            key=first_commands(order, "A1")[0].key,  # pyright: ignore[reportArgumentType] - the first activity's
            activity_type="charge",
            input=raw({"sku": "A1", "cents": 5}),
            target=charge,
            source=line_of(order.fn, 3),
        )
    ]


def test_only_options_that_differ_from_the_defaults_are_recorded() -> None:
    @workflow
    async def both() -> None:
        await asyncio.gather(charge("A1"), ship("A1"))

    options = [command.options for command in first_commands(both) if isinstance(command, cmd.RunActivity)]
    assert options == [{}, {"timeout_s": 60.0}]


def test_a_call_with_arguments_that_do_not_fit_fails_where_it_is_awaited() -> None:
    @workflow
    async def wrong() -> list[str]:
        untyped: Any = charge
        calls = [untyped("A1", "no number"), untyped(), untyped("A1", colour="red")]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        return [type(outcome).__name__ for outcome in outcomes]

    last = first_commands(wrong)[-1]
    assert isinstance(last, cmd.CompleteWorkflow)
    assert last.outcome == cmd.Completed(raw(["PayloadError", "TypeError", "TypeError"]))


def test_a_child_is_a_command_too() -> None:
    @workflow
    async def parent() -> str:
        return await order("A1")

    commands = first_commands(parent)
    assert [type(command) for command in commands] == [cmd.SpawnChild]
    assert isinstance(commands[0], cmd.SpawnChild)
    assert (commands[0].workflow_type, commands[0].input, commands[0].target) == ("order", raw("A1"), order)


@pytest.mark.parametrize("definition", [charge, order], ids=["activity", "workflow"])
def test_a_call_outside_of_a_workflow_says_so(definition: Any) -> None:
    with pytest.raises(AionError) as caught:
        asyncio.run(definition("A1"))
    noun = "activity" if definition is charge else "workflow"
    assert caught.value.message == f"the {noun} {definition.name} can only be called inside a running workflow"
    assert f"call its plain function: {definition.name}.fn(…)" in caught.value.hint


@pytest.mark.parametrize(("definition", "name"), [(ship, "post.office-2"), (order_again, "order-v2")])
def test_a_call_that_nobody_awaits_is_warned_of_by_the_name_of_what_was_called(definition: Any, name: str) -> None:
    with pytest.warns(RuntimeWarning) as warned:
        definition("A1")
    assert [str(each.message) for each in warned] == [f"coroutine '{name}' was never awaited"]


# --- what an execution asks of a workflow


def test_a_workflow_starts_with_its_recorded_input() -> None:
    coroutine = order.start(raw("A1"))
    assert inspect.iscoroutine(coroutine)
    coroutine.close()
    with pytest.raises(PayloadError):
        order.start(raw(5)).close()


def test_a_result_and_the_next_input_are_encoded() -> None:
    assert order.completed("r1") == cmd.Completed(raw("r1"))
    assert order.continued(ContinueAsNew("A2")) == cmd.Continued(raw("A2"))
    assert order.continued(ContinueAsNew(sku="A2")) == cmd.Continued(raw("A2"))
    with pytest.raises(PayloadError):
        order.completed(5)
    with pytest.raises(TypeError):
        order.continued(ContinueAsNew())


def test_a_recorded_input_is_read_with_todays_types() -> None:
    assert charge.reencode_input(raw({"sku": "A1"})) == raw({"sku": "A1", "cents": 5})
    with pytest.raises(PayloadError):
        charge.reencode_input(raw({"sku": 1}))


@activity
async def impedance(ohms: float) -> complex:
    return complex(ohms)


@workflow
async def circuit() -> complex:
    return 1j


@pytest.mark.parametrize(
    "ask",
    [
        lambda: impedance(5),
        lambda: impedance.options(timeout=5)(5),
        lambda: circuit(),
        lambda: start_child(circuit),
    ],
    ids=["activity", "options", "workflow", "start_child"],
)
def test_a_result_that_can_never_be_recorded_is_refused_before_anything_is_asked_for(ask: Callable[[], Any]) -> None:
    @workflow
    async def order() -> str:
        try:
            await ask()
        except PayloadError as error:
            return f"{error.message} at {error.where[0]}"
        return "asked for"

    (end,) = first_commands(order)
    assert isinstance(end, cmd.CompleteWorkflow) and isinstance(end.outcome, cmd.Completed)
    said = msgspec.json.decode(end.outcome.result)
    assert said.startswith("values of type `complex` cannot be recorded as JSON at ")
    assert said.partition(" at ")[2].startswith(__file__)


def test_options_of_one_call_share_the_signature_which_is_checked_once() -> None:
    assert charge.options(timeout=5).signature is charge.signature


@pytest.mark.parametrize(
    ("request_", "type_", "said"),
    [
        (ContinueAsNew(1), "TypeError", "ContinueAsNew(…) does not fit workflow transfer: "),
        (ContinueAsNew(1, object()), "PayloadError", "`object` cannot be recorded"),
    ],
    ids=["TypeError", "PayloadError"],
)
def test_a_next_run_that_cannot_be_had_is_told_with_the_line_that_asked_for_it(
    request_: ContinueAsNew, type_: str, said: str
) -> None:
    @workflow
    async def transfer(cents: int, to: str) -> None:
        await asyncio.sleep(0)
        raise request_

    (end,) = first_commands(transfer, {"cents": 1, "to": "x"})
    assert isinstance(end, cmd.CompleteWorkflow) and isinstance(end.outcome, cmd.Failed)
    error, line = end.outcome.error, transfer.line + 3
    assert error.type == type_
    assert error.message.startswith(said)
    assert f'File "{__file__}", line {line}, in ' in error.traceback
    assert end.source == f"{__file__}:{line}"
    assert error.cause is None
