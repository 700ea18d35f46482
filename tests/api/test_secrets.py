"""A Secret is recorded as a reference, revealed in activities alone, and never shown."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from pathlib import Path

import pytest

from aion_cli import Secret, SecretError
from aion_cli.api.attempts import ActivityInfo, set_activity_info
from aion_cli.api.masking import MASK, masks
from aion_cli.core import payload
from aion_cli.errors import PayloadError


@pytest.fixture(autouse=True)
def forget_values() -> Iterator[None]:
    yield
    masks.clear()


def reveal(secret: Secret) -> str:
    """Reveal as an activity would."""

    def inside() -> str:
        set_activity_info(ActivityInfo("order-1", "r1", 0, 1, "r1/2"))
        return secret.reveal()

    return contextvars.Context().run(inside)


def test_only_the_reference_is_recorded() -> None:
    raw = payload.encode(Secret("env:DB_PASSWORD"), Secret)
    assert bytes(raw) == b'"env:DB_PASSWORD"'
    assert payload.decode(raw, Secret) == Secret("env:DB_PASSWORD")


def test_a_value_in_place_of_a_reference_is_refused_without_being_repeated() -> None:
    with pytest.raises(PayloadError) as caught:
        payload.decode(b'"hunter22"', Secret)
    assert "hunter22" not in str(caught.value)
    assert "env:NAME" in str(caught.value)


def test_an_environment_variable_is_revealed_and_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter22")
    assert reveal(Secret("env:DB_PASSWORD")) == "hunter22"
    assert masks.mask_text("hunter22") == MASK


def test_a_file_is_revealed_without_its_last_newline(tmp_path: Path) -> None:
    (tmp_path / "deploy.key").write_text("k1-secret\n")
    assert reveal(Secret(f"file:{tmp_path / 'deploy.key'}")) == "k1-secret"


def test_revealing_outside_of_an_activity_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter22")
    with pytest.raises(SecretError, match="outside of an activity"):
        contextvars.Context().run(Secret("env:DB_PASSWORD").reveal)


@pytest.mark.parametrize("reference", ["env:NOT_SET_ANYWHERE", "file:no/such/file"])
def test_a_secret_that_is_not_there_is_an_error_that_names_its_place(reference: str) -> None:
    with pytest.raises(SecretError, match=reference.partition(":")[2]):
        reveal(Secret(reference))


def test_an_empty_secret_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "")
    with pytest.raises(SecretError, match="empty"):
        reveal(Secret("env:DB_PASSWORD"))


def test_a_secret_shows_as_its_reference() -> None:
    assert repr(Secret("env:X")) == "Secret('env:X')"
