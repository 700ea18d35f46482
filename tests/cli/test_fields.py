"""A key that `-p` names and no field or parameter has: an error with the names there are."""

from __future__ import annotations

import dataclasses
from typing import Any, TypedDict

import attrs
import msgspec
import pydantic
import pytest

from aion_cli.api.signature import Signature
from aion_cli.cli.inputs import complete_input
from aion_cli.errors import PayloadError
from tests.cli.support import Project


class Address(msgspec.Struct):
    street: str = ""
    town: str = ""


class AsStruct(msgspec.Struct, tag=True):
    reminders: int = 1
    to: Address | None = None


@dataclasses.dataclass
class AsDataclass:
    reminders: int = 1
    to: Address | None = None


@attrs.define
class AsAttrs:
    reminders: int = 1
    to: Address | None = None


class AsTypedDict(TypedDict, total=False):
    reminders: int
    to: Address


class AsModel(pydantic.BaseModel):
    reminders: int = 1
    to: dict[str, str] = {}


class AsOpenModel(pydantic.BaseModel, extra="allow"):
    reminders: int = 1


def taking(type_: Any) -> Signature:
    def fn(order: Any = None) -> None: ...

    fn.__annotations__["order"] = type_
    return Signature.of(fn)


KINDS = [AsStruct, AsDataclass, AsAttrs, AsTypedDict, AsModel]


@pytest.mark.parametrize("kind", KINDS)
def test_a_misspelt_key_is_refused_with_the_names_there_are(kind: Any) -> None:
    for type_ in (kind, kind | None):
        with pytest.raises(PayloadError) as caught:
            complete_input(taking(type_), None, ["remnders:=5"])
        assert caught.value.message == f"{kind.__name__} has no field `remnders`"
        assert caught.value.path == "$.remnders"
        assert caught.value.hint.startswith("did you mean `reminders`? its fields are reminders, to")
        complete_input(taking(type_), None, ["reminders:=5"])
        complete_input(taking(type_), '{"remnders": 5}', [])


@pytest.mark.parametrize("kind", [AsStruct, AsDataclass, AsAttrs, AsTypedDict])
def test_a_misspelt_key_further_in_is_refused_as_well(kind: Any) -> None:
    with pytest.raises(PayloadError) as caught:
        complete_input(taking(kind), None, ["to.twn=Ulm"])
    assert (caught.value.message, caught.value.path) == ("Address has no field `twn`", "$.to.twn")
    assert bytes(complete_input(taking(kind), None, ["to.town=Ulm"])).count(b"Ulm") == 1


@pytest.mark.parametrize("type_", [dict[str, int], Any, AsOpenModel, AsOpenModel | None])
def test_what_takes_any_key_still_does(type_: Any) -> None:
    given = complete_input(taking(type_), None, ["remnders:=5"])
    assert b'"remnders":5' in bytes(given)


def test_what_a_model_takes_by_another_name_is_known_by_that_name() -> None:
    class Aliased(pydantic.BaseModel):
        reminders: int = pydantic.Field(default=1, alias="reminderCount")

    complete_input(taking(Aliased), None, ["reminderCount:=2"])
    with pytest.raises(PayloadError, match="has no field `reminders`"):
        complete_input(taking(Aliased), None, ["reminders:=2"])


def test_the_tag_of_a_struct_is_a_key_of_it() -> None:
    assert b'"reminders":2' in bytes(complete_input(taking(AsStruct), None, ["type=AsStruct", "reminders:=2"]))


def test_of_several_parameters_each_is_looked_into() -> None:
    def fn(order: AsStruct, cents: int = 0) -> None: ...

    complete_input(Signature.of(fn), None, ["order.reminders:=2", "cents:=3"])
    with pytest.raises(PayloadError) as caught:
        complete_input(Signature.of(fn), None, ["order.remnders:=2"])
    assert caught.value.path == "$.order.remnders"
    with pytest.raises(PayloadError) as caught:
        complete_input(Signature.of(fn), None, ["order.reminders:=2", "cent:=3"])
    assert caught.value.hint == "did you mean `cents`? its parameters are order, cents"


def test_the_one_parameter_can_be_named_and_is_looked_into_then() -> None:
    complete_input(taking(AsStruct), None, ["order.reminders:=2"])
    with pytest.raises(PayloadError, match="AsStruct has no field `remnders`"):
        complete_input(taking(AsStruct), None, ["order.remnders:=2"])


def test_a_misspelt_key_starts_no_run(project: Project) -> None:
    project.write("""
        import msgspec

        class Order(msgspec.Struct):
            sku: str
            reminders: int = 3

        @workflow
        async def saga(order: Order) -> int:
            return order.reminders
    """)
    done = project.here("run", "saga", "--id", "s", "-p", "sku=A1", "-p", "remnders:=5")
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("error[payload]: Order has no field `remnders` at $.remnders\n")
    assert "hint: did you mean `reminders`? its fields are sku, reminders\n" in done.stderr
    assert not project.history("s").exists()
    lenient = project.here("run", "saga", "--id", "s", "--input", '{"sku": "A1", "remnders": 5}', "-q")
    assert (lenient.code, lenient.stdout) == (0, "3\n")
