"""The fuzzers' seeds pass, and some inputs made of them; `python -m tests.fuzz.play` plays more."""

from __future__ import annotations

import importlib
import random

import pytest

from tests.fuzz.play import FUZZERS, mutated

ROUNDS = 60


@pytest.mark.parametrize("name", FUZZERS)
def test_seeds_and_what_is_made_of_them_break_no_rule(name: str) -> None:
    module = importlib.import_module(f"tests.fuzz.fuzz_{name}")
    chance = random.Random(1)
    seeds = module.seeds()
    inputs = chance.sample(seeds, min(ROUNDS, len(seeds)))
    inputs += [mutated(chance.choice(seeds), chance.choice(seeds), chance) for _ in range(ROUNDS)]
    for data in inputs:
        module.one_input(data)
