"""Adversarial images of every attack against those of the recording."""

import golden_attacks
import golden_store
import pytest
import torch
from golden_attacks import Problem
from safetensors.torch import load_file
from torch import Tensor


@pytest.fixture(scope="module")
def problem() -> Problem:
    return golden_attacks.load_problem()


@pytest.fixture(scope="module")
def kept() -> dict[str, Tensor]:
    return load_file(golden_store.DATA / "attacks.safetensors")


@pytest.mark.parametrize("case", golden_attacks.CASES)
def test_an_attack_finds_what_it_found(case: str, problem: Problem, kept: dict[str, Tensor]) -> None:
    if why := golden_store.excepted("attacks", case):
        pytest.skip(why)
    found = golden_attacks.compute(case, problem)
    golden = golden_attacks.unpacked(case, kept, golden_attacks.beside(case, problem))
    if golden_store.same_machine():
        far = (found - golden).abs()
        assert torch.equal(found, golden), f"{int((far > 0).sum())} values differ, by {float(far.max()):.3g} at most"
    else:
        fooled = [golden_attacks.fooled(images, problem, case) for images in (found, golden)]
        assert abs(fooled[0] - fooled[1]) <= golden_store.IMAGES


def test_every_golden_attack_has_a_case(kept: dict[str, Tensor]) -> None:
    assert {key.partition("/")[0] for key in kept} == set(golden_attacks.CASES)
