"""What an attack may change."""

import pytest
import torch

from blurnet.evaluation.threats import SquarePatch


def test_a_patch_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        SquarePatch(0.9).broken(torch.zeros(1, 3, 4, 12), torch.zeros(1, 3, 4, 12))
