"""A call becomes one payload and comes back as the same call, checked against the annotations."""

from __future__ import annotations

import functools
import inspect
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn, TypedDict, TypeVar, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aion_cli.api.signature import Signature
from aion_cli.core.payload import equal
from aion_cli.errors import PayloadError, UsageError


def nothing() -> None: ...


def one(order: Order) -> str: ...  # pyright: ignore[reportReturnType]


def one_or_default(n: int = 3) -> Any: ...


def several(a: int, /, b: str = "x", *, at: datetime | None = None, ratio: float = 1.0) -> dict[str, int]: ...  # pyright: ignore[reportReturnType]


def defaults_only(a: int = 1, b: list[str] = ["q"]) -> None: ...  # noqa: B006 - a mutable default is what is tested


def untyped(x, y=2): ...  # pyright: ignore[reportMissingParameterType, reportUnknownParameterType]


def as_it_is(x: Any) -> Any: ...


def forever() -> NoReturn: ...  # pyright: ignore[reportReturnType]


UNTYPED = cast("Any", untyped)
T = TypeVar("T")


class Order(msgspec.Struct):
    """Defined below its first use, as authors do."""

    sku: str
    cents: int = 0


def refusal(action: Callable[[], object]) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        action()
    return caught.value


def line_of(fn: Callable[..., Any]) -> str:
    return f"{__file__}:{inspect.getsourcelines(fn)[1]}"


@pytest.mark.parametrize(
    ("fn", "args", "kwargs", "recorded"),
    [
        (nothing, (), {}, b"null"),
        (one, (Order("A"),), {}, b'{"sku":"A","cents":0}'),
        (one, (), {"order": Order("A", 5)}, b'{"sku":"A","cents":5}'),
        (one_or_default, (), {}, b"3"),
        (one_or_default, (4,), {}, b"4"),
        (several, (1,), {}, b'{"a":1,"b":"x","at":null,"ratio":1.0}'),
        (several, (1, "y"), {"ratio": 2}, b'{"a":1,"b":"y","at":null,"ratio":2}'),
        (defaults_only, (), {"b": []}, b'{"a":1,"b":[]}'),
        (UNTYPED, ({"$x": 1},), {}, b'{"x":{"$x":1},"y":2}'),
    ],
)
def test_a_call_is_recorded_by_its_number_of_parameters_with_defaults_applied(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], recorded: bytes
) -> None:
    signature = Signature.of(fn)
    raw = signature.encode_call(*args, **kwargs)
    assert bytes(raw) == recorded
    back_args, back_kwargs = signature.decode_call(raw)
    assert equal(raw, signature.encode_call(*back_args, **back_kwargs))
    assert equal(raw, signature.reencode_call(raw))


def test_a_recorded_call_comes_back_as_typed_arguments() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    signature = Signature.of(several)
    assert signature.decode_call(signature.encode_call(1, at=at)) == ((1, "x"), {"at": at, "ratio": 1.0})
    assert Signature.of(one).decode_call(msgspec.Raw(b'{"sku":"A"}')) == ((Order("A"),), {})
    assert Signature.of(nothing).decode_call(msgspec.Raw(b"null")) == ((), {})


@given(st.integers(), st.text(), st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=50, deadline=None)
def test_any_call_comes_back_as_it_was(a: int, b: str, ratio: float) -> None:
    signature = Signature.of(several)
    assert signature.decode_call(signature.encode_call(a, b, ratio=ratio)) == ((a, b), {"at": None, "ratio": ratio})


@pytest.mark.parametrize(
    ("fn", "args", "kwargs"),
    [(nothing, (1,), {}), (one, (), {}), (one, (1, 2), {}), (several, (1,), {"c": 1}), (several, (), {"a": 1})],
)
def test_a_call_that_python_would_refuse_is_a_type_error_with_the_functions_name(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    with pytest.raises(TypeError, match=rf"^{fn.__name__}\(\) "):
        Signature.of(fn).encode_call(*args, **kwargs)


def test_an_argument_that_does_not_fit_its_annotation_is_not_recorded() -> None:
    error = refusal(lambda: Signature.of(several).encode_call("x"))
    assert (error.path, error.message) == ("$.a", "Expected `int`, got `str`")
    assert error.where == (f"{line_of(several)} several(a)",)
    assert refusal(lambda: Signature.of(one).encode_call({"sku": "A", "cents": "x"})).path == "$.cents"


@pytest.mark.parametrize(
    ("recorded", "path", "said"),
    [
        (b'{"b":"x"}', "$.a", "needs a value for its parameter `a`"),
        (b'{"a":1,"rato":2}', "$.rato", "no parameter `rato`"),
        (b'{"a":{"x":1}}', "$.a", "Expected `int`"),
        (b'{"a":1,"at":"2026"}', "$.at", "datetime"),
        (b"[1]", "$", "Expected `object`"),
        (b'{"a":1', "$", "too early"),
        (b'{"a":1,"$b":1}', '$["$b"]', "no parameter `$b`"),
    ],
)
def test_a_recorded_call_that_does_not_fit_names_the_place(recorded: bytes, path: str, said: str) -> None:
    error = refusal(lambda: Signature.of(several).decode_call(msgspec.Raw(recorded)))
    assert error.path == path
    assert said in error.message


def test_a_mistyped_parameter_is_guessed() -> None:
    error = refusal(lambda: Signature.of(several).decode_call(msgspec.Raw(b'{"a":1,"rato":2}')))
    assert error.hint == "did you mean `ratio`?"


def of_one(order: Order) -> None: ...


def of_one_and_more(order: Order, rush: bool = False, *, note: str = "") -> None: ...


GROWN: list[tuple[Callable[..., Any], tuple[Any, ...], Callable[..., Any], object]] = [
    (of_one, (Order("A1"),), of_one_and_more, ((Order("A1"), False), {"note": ""})),
    (nothing, (), one_or_default, ((3,), {})),
    (nothing, (), defaults_only, ((1, ["q"]), {})),
    (one_or_default, (4,), defaults_only, ((4, ["q"]), {})),
]


@pytest.mark.parametrize(("before", "args", "after", "expected"), GROWN)
def test_parameters_with_defaults_can_be_added_to_a_function_of_one_or_none(
    before: Callable[..., Any], args: tuple[Any, ...], after: Callable[..., Any], expected: object
) -> None:
    recorded, today = Signature.of(before).encode_call(*args), Signature.of(after)
    assert today.decode_call(recorded) == expected
    assert equal(recorded, today.encode_call(*args), reencode=today.reencode_call)


def test_a_parameter_without_a_default_cannot_be_added() -> None:
    recorded = Signature.of(of_one).encode_call(Order("A1"))

    def of_two(order: Order, rush: bool) -> None: ...

    with pytest.raises(PayloadError, match="of_two has no parameter `sku`"):
        Signature.of(of_two).decode_call(recorded)


def test_a_call_of_a_parameter_that_is_gone_is_not_taken_for_the_value_of_the_first() -> None:
    def of_any_dict(options: dict[str, Any], tries: int = 3) -> None: ...

    recorded = msgspec.Raw(b'{"options":{"a":1},"tries":5,"verbose":false}')
    with pytest.raises(PayloadError, match="of_any_dict has no parameter `verbose`"):
        Signature.of(of_any_dict).decode_call(recorded)
    assert Signature.of(of_any_dict).decode_call(msgspec.Raw(b'{"a":1}')) == (({"a": 1}, 3), {})


def test_what_a_user_gives_has_todays_form() -> None:
    with pytest.raises(PayloadError):
        Signature.of(of_one_and_more).complete_input(b'{"sku":"A1"}')


def test_a_parameter_with_a_default_can_be_added_to_what_was_recorded() -> None:
    signature = Signature.of(several)
    recorded, today = msgspec.Raw(b'{"a":1,"b":"x"}'), signature.encode_call(1)
    assert not equal(recorded, today)
    assert equal(recorded, today, reencode=signature.reencode_call)
    assert not equal(msgspec.Raw(b'{"a":2}'), today, reencode=signature.reencode_call)
    assert not equal(msgspec.Raw(b'{"gone":2}'), today, reencode=signature.reencode_call)


@pytest.mark.parametrize(
    ("fn", "given_input", "recorded"),
    [
        (nothing, None, b"null"),
        (nothing, b" null\n", b"null"),
        (one_or_default, None, b"3"),
        (one, b' {"sku" : "A"}\n', b'{"sku":"A","cents":0}'),
        (several, b'{"a":1}', b'{"a":1,"b":"x","at":null,"ratio":1.0}'),
        (defaults_only, None, b'{"a":1,"b":["q"]}'),
        (defaults_only, b"{}", b'{"a":1,"b":["q"]}'),
        (as_it_is, b'{"$blob":"sha256:00","size":1}', b'{"$lit":{"$blob":"sha256:00","size":1}}'),
    ],
)
def test_what_a_user_gives_is_completed_with_defaults(
    fn: Callable[..., Any], given_input: bytes | None, recorded: bytes
) -> None:
    raw = Signature.of(fn).complete_input(given_input)
    assert bytes(raw) == recorded
    Signature.of(fn).decode_call(raw)


@pytest.mark.parametrize(
    ("fn", "given_input", "path", "said"),
    [
        (nothing, b"{}", "$", "takes no input"),
        (one, None, "$", "parameter `order`"),
        (one, b"null", "$", "Expected `object`, got `null`"),
        (one, b'{"cents":1}', "$.sku", "missing required field"),
        (several, None, "$.a", "parameter `a`"),
        (several, b"null", "$", "Expected `object`"),
        (several, b'{"a":1,"at":"2026-01-01T00:00:00"}', "$.at", "time zone"),
        (several, b'{"a":1,"ratio":NaN}', "$", "malformed"),
    ],
)
def test_what_a_user_gives_wrong_is_refused_with_its_place(
    fn: Callable[..., Any], given_input: bytes | None, path: str, said: str
) -> None:
    error = refusal(lambda: Signature.of(fn).complete_input(given_input))
    assert error.path == path
    assert said in error.message


def test_a_result_has_to_fit_the_return_annotation() -> None:
    signature = Signature.of(one)
    assert signature.decode_result(signature.encode_result("done")) == "done"
    error = refusal(lambda: signature.encode_result(5))
    assert error.message == "Expected `str`, got `int`"
    assert error.where == (f"{line_of(one)} result of one",)
    assert refusal(lambda: Signature.of(nothing).encode_result(1)).message == "Expected `null`, got `int`"
    assert Signature.of(UNTYPED).return_type is Any
    assert Signature.of(forever).return_type is Any


def any_number(*args: int) -> None: ...


def any_names(a: int, **rest: int) -> None: ...


@pytest.mark.parametrize("fn", [any_number, any_names])
def test_a_variable_number_of_parameters_is_refused_when_declared(fn: Callable[..., Any]) -> None:
    with pytest.raises(UsageError) as caught:
        Signature.of(fn)
    assert caught.value.where == (line_of(fn),)
    assert "*" in caught.value.message


def test_annotations_are_resolved_late_and_keep_their_constraints() -> None:
    def bounded(n: int) -> None: ...

    bounded.__annotations__["n"] = "Later"
    signature = Signature.of(bounded)
    error = refusal(lambda: signature.encode_call(1))
    assert "Later" in error.message
    assert error.where == (line_of(bounded),)
    signature.check()

    def constrained(n: Annotated[int, msgspec.Meta(ge=1)]) -> None: ...

    assert ">= 1" in refusal(lambda: Signature.of(constrained).encode_call(0)).message


def test_a_type_whose_values_cannot_be_recorded_is_found_before_any_call() -> None:
    def uses_sockets(n: int, open: list[socket.socket]) -> None: ...

    error = refusal(Signature.of(uses_sockets).check)
    assert (error.path, error.where) == ("$[*]", (f"{line_of(uses_sockets)} {uses_sockets.__qualname__}(open)",))
    for fn in (nothing, one, several, UNTYPED, forever):
        Signature.of(fn).check()


class Connection:
    """Something that cannot be recorded."""


class Lazy(msgspec.Struct, omit_defaults=True):
    connection: Connection = Connection()


class Holder(msgspec.Struct):
    at: Connection


class Sparse(TypedDict, total=False):
    connection: Connection


def test_a_type_of_which_some_values_can_be_recorded_passes() -> None:
    def lenient(a: Connection | None, b: Lazy, c: Sparse, d: T, e: list[T]) -> T:
        return d

    Signature.of(lenient).check()


@pytest.mark.parametrize(
    ("type_", "path"),
    [
        (complex, "$"),
        (list[complex], "$[*]"),
        (dict[int, str], "$"),
        (Connection | complex, "$"),
        (tuple[int, Connection], "$[1]"),
        (Holder, "$.at"),
    ],
)
def test_a_result_that_can_never_be_recorded_is_found_before_the_call(type_: Any, path: str) -> None:
    def fn() -> None: ...

    fn.__annotations__["return"] = type_
    signature = Signature.of(fn)
    for _ in range(2):
        error = refusal(signature.check)
        assert (error.path, error.where) == (path, (f"{line_of(fn)} result of {fn.__qualname__}",))


def test_a_wrapped_function_has_the_signature_of_what_it_wraps() -> None:
    @functools.wraps(one)
    def wrapper(*args: Any, **kwargs: Any) -> Any: ...

    signature = Signature.of(wrapper)
    assert signature.parameter_names == ("order",)
    assert signature.where == line_of(one)


def test_names_and_requirements_of_parameters_are_known() -> None:
    signature = Signature.of(several)
    assert signature.parameter_names == ("a", "b", "at", "ratio")
    assert signature.required_names == ("a",)
