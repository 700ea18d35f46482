"""Each mutant is noticed by its layer; `make torture` tries all layers on all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.mutants import LAYERS, MUTANTS, Mutant, noticed, try_layer
from tests.faults.tally import MUTANTS_CAUGHT, Tally


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_durability_that_is_broken_by_one_line_is_noticed(tmp_path: Path, mutant: Mutant, tally: Tally) -> None:
    assert noticed(mutant, mutant.layer, tmp_path)
    tally.add(MUTANTS_CAUGHT)


@pytest.mark.torture  # in make test the other tests are these layers, and more of them
@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_says_nothing_of_code_that_is_whole(tmp_path: Path, layer: str) -> None:
    try_layer(layer, tmp_path)


@pytest.mark.torture
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_which_layers_notice_a_mutant(tmp_path: Path, mutant: Mutant, tally: Tally) -> None:
    found: list[str] = []
    for n, layer in enumerate(LAYERS):
        place = tmp_path / str(n)
        place.mkdir()
        if noticed(mutant, layer, place):
            found.append(layer)
    tally.say(f"mutant | {mutant.name} | {', '.join(found)}")
    assert mutant.layer in found
