"""Settings through wrappers, and what a report shows of them."""

from dataclasses import dataclass

import pytest
import torch

from blurnet.attacks.base import Attack
from blurnet.attacks.engine.settings import inside, replace_inside
from blurnet.attacks.patch.lavan import LaVAN
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.masks import Place


@dataclass(frozen=True)
class Wrapper(Attack):
    attack: Attack
    seed: int = 5

    def search(self, problem):
        return self.attack.search(problem)


def test_settings_are_changed_where_they_stand():
    changed = replace_inside(Wrapper(Wrapper(LaVAN(0))), lr=0.5, seed=1)
    assert (changed.seed, changed.attack.seed, changed.attack.attack.seed) == (1, 5, 0)
    assert changed.attack.attack.lr == 0.5
    assert inside(changed, "lr") == 0.5
    assert inside(changed, "seed") == 1
    assert inside(changed, "nothing", 7) == 7


def test_settings_that_nobody_has_raise():
    with pytest.raises(ValueError, match="LaVAN has no colour; it has confidence, domain, lr"):
        replace_inside(Wrapper(LaVAN(0)), colour="red", lr=0.5)


def test_what_is_shown():
    assert repr(LaVAN(0, Place(0.1), steps=3)) == (
        "LaVAN(target=0, mask=Place(area=0.1, where='border', seed=0), "
        "steps=3, lr=0.05, confidence=0.99, optimizer='sign', domain='image', seed=0)"
    )
    attack = PatchPGD(torch.ones(4, 4), penalty=torch.ones_like, weight=2.0)
    assert "tensor" not in repr(attack)
    assert "penalty=ones_like, weight=2.0" in repr(attack).replace("_VariableFunctionsClass.", "")
