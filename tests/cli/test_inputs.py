"""Input from the command line: one JSON document, however it was given, or an error that says how to give it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aion_cli.api.signature import Signature
from aion_cli.cli.inputs import complete_input, read_document, read_input, read_parameters
from aion_cli.errors import PayloadError, UsageError


class Order(msgspec.Struct):
    sku: str
    cents: int = 0
    to: dict[str, str] = {}


def ship(order: Order) -> None: ...


def wait(n: int) -> None: ...


def move(a: int, b: str = "x") -> None: ...


def refusal(action: Callable[[], object]) -> UsageError:
    with pytest.raises(UsageError) as caught:
        action()
    return caught.value


def value_of(raw: msgspec.Raw | None) -> Any:
    assert raw is not None
    return msgspec.json.decode(raw)


def test_nothing_given_is_none() -> None:
    assert read_input(None, []) is None


@pytest.mark.parametrize("document", ['{"a": [1, "é"]}', "null", '"text"', " 5\n"])
def test_json_is_taken_as_it_stands(document: str) -> None:
    assert bytes(read_document(document, "--input")) == document.encode()


def test_json_comes_from_a_file_or_from_stdin(tmp_path: Path) -> None:
    file = tmp_path / "order.json"
    file.write_bytes(b'\xef\xbb\xbf{"sku": "A"}\n')
    assert value_of(read_input(f"@{file}", [])) == {"sku": "A"}
    assert value_of(read_input("-", [], stdin=io.BytesIO(b"[1]"))) == [1]


@pytest.mark.parametrize(
    ("parameters", "value"),
    [
        (["a=1"], {"a": "1"}),
        (["a:=1"], {"a": 1}),
        (["a="], {"a": ""}),
        (["a=b=c"], {"a": "b=c"}),
        (["a=b:=c"], {"a": "b:=c"}),
        (["a.b=x", "a.c:=[1]", "d.e.f:=null"], {"a": {"b": "x", "c": [1]}, "d": {"e": {"f": None}}}),
        (["$x=é"], {"$x": "é"}),
        (['a:={"b": {"c": 1}}', "d=@x"], {"a": {"b": {"c": 1}}, "d": "@x"}),
    ],
)
def test_parameters_make_an_object(parameters: list[str], value: object) -> None:
    assert value_of(read_parameters(parameters)) == value


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (["a=1", "a=2"], "given twice"),
        (["a=1", "a.b=2"], "contradict"),
        (["a.b.c=2", "a.b=1"], "contradict"),
        (['a:={"b":1}', "a.c=2"], "contradict"),
        (["a"], "form"),
        (["=1"], "form"),
        ([":=1"], "form"),
        (["a..b=1"], "form"),
        (["a:=x"], "not JSON"),
        (["a:="], "not JSON"),
        (["a:=NaN"], "not JSON"),
        (["a=\udcff"], "UTF-8"),
        (["a:=\udcff"], "UTF-8"),
        ([".".join("a" * 65) + "=1"], "64"),
    ],
)
def test_parameters_that_cannot_be_are_refused(parameters: list[str], said: str) -> None:
    error = refusal(lambda: read_parameters(parameters))
    assert said in error.message
    error.message.encode()


def test_input_and_parameters_do_not_mix() -> None:
    assert "combined" in refusal(lambda: read_input("{}", ["a=1"])).message


@pytest.mark.parametrize(
    ("document", "place", "hint"),
    [
        ("{'a': 1}", ":1:2", "quote"),
        ('{"a": 1,\n "é": é}', ":2:7", ""),
        ("[1", ":1:3", "quote"),
        ("hello", ":1:1", "quotes"),
        ("order.json", ":1:1", "@order.json"),
        ("", ":1:1", "quotes"),
        ("NaN", ":1:1", ""),
        ('"\udcff"', ":1:2", ""),
    ],
)
def test_bad_json_is_refused_with_line_column_and_advice(document: str, place: str, hint: str) -> None:
    error = refusal(lambda: read_document(document, "--input"))
    assert error.where == (f"--input{place}",)
    assert f"line {place.split(':')[1]}, column {place.split(':')[2]}" in error.message
    assert hint in error.hint


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert "No such file" in refusal(lambda: read_document(f"@{tmp_path}/none.json", "--input")).message
    assert "directory" in refusal(lambda: read_document(f"@{tmp_path}", "--input")).message
    assert "needs the name" in refusal(lambda: read_document("@", "--input")).message
    assert "null byte" in refusal(lambda: read_document("@a\0b", "--input")).message


def test_what_is_too_large_is_refused_without_being_read_to_its_end(tmp_path: Path) -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            assert 0 < size <= 65 * 1024 * 1024
            return b" " * size

    assert "64 MiB" in refusal(lambda: read_document("-", "--input", stdin=Endless())).message  # pyright: ignore[reportArgumentType]
    big = tmp_path / "big.json"
    with big.open("wb") as stream:
        stream.truncate(65 * 1024 * 1024)
    assert "64 MiB" in refusal(lambda: read_document(f"@{big}", "--input")).message


@given(st.text(max_size=30))
@settings(max_examples=200, deadline=None)
def test_whatever_is_typed_is_json_or_a_usage_error(text: str) -> None:
    for read in (lambda: read_document("x" + text, "--input"), lambda: read_parameters([text])):
        try:
            raw = read()
        except UsageError:
            continue
        assert msgspec.json.encode(msgspec.json.decode(raw))


def test_the_input_is_fitted_to_the_signature() -> None:
    order = Signature.of(ship)
    assert value_of(complete_input(order, None, ["sku=A", "to.city=Zug"])) == {
        "sku": "A",
        "cents": 0,
        "to": {"city": "Zug"},
    }
    assert value_of(complete_input(Signature.of(wait), "5", [])) == 5
    assert value_of(complete_input(Signature.of(move), None, ["a:=1"])) == {"a": 1, "b": "x"}


def settle(ratios: dict[str, float]) -> None: ...


def test_the_name_of_the_one_parameter_is_a_key_where_it_has_no_fields() -> None:
    assert value_of(complete_input(Signature.of(wait), None, ["n:=5"])) == 5
    assert value_of(complete_input(Signature.of(ship), None, ['order:={"sku":"A"}'])) == {
        "sku": "A",
        "cents": 0,
        "to": {},
    }
    assert value_of(complete_input(Signature.of(settle), None, ["ratios:=1"])) == {"ratios": 1}


@pytest.mark.parametrize(
    ("fn", "parameters", "path", "hint"),
    [
        (ship, ["sku=A", "cents=100"], "$.cents", "-p cents:=100"),
        (ship, ["sku=A", "cents=much"], "$.cents", "-p cents:=JSON"),
        (move, ["a=1"], "$.a", "-p a:=1"),
        (wait, ["m:=1"], "$", "--input"),
        (wait, ["n=1"], "$", "--input"),
        (ship, ["sku:=1"], "$.sku", ""),
    ],
)
def test_text_where_the_type_is_another_leads_to_the_form_for_json(
    fn: Callable[..., Any], parameters: list[str], path: str, hint: str
) -> None:
    error = refusal(lambda: complete_input(Signature.of(fn), None, parameters))
    assert isinstance(error, PayloadError)
    assert error.path == path
    assert hint in error.hint
    assert bool(hint) is bool(error.hint)
