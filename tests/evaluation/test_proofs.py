"""Which attacks a certificate answers, and which images it settles."""

import torch
from torch import Tensor, nn

from blurnet.certified.double_masking import DoubleMasking
from blurnet.evaluation.proofs import certifying, covers, settled
from blurnet.evaluation.threats import SquarePatch


class Bright(nn.Module):
    """Bright or dark."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((1, 2, 3))
        return torch.stack([mean, 1.2 - mean], 1)


def test_a_model_that_certifies():
    net = DoubleMasking(Bright(), patch=2)
    assert certifying(net) is net


def test_what_is_settled():
    """Images far above the edge, by a certificate that covers the threat."""
    net = DoubleMasking(Bright(), area=0.05, masks=3).eval()
    images = torch.tensor([0.95, 0.61, 0.3]).view(3, 1, 1, 1).expand(3, 3, 12, 12)
    labels = torch.tensor([0, 0, 1])
    small, large = SquarePatch(0.05), SquarePatch(0.3)
    assert covers(net, small, (12, 12))
    assert not covers(net, large, (12, 12))
    assert not covers(net, None, (12, 12))
    assert settled(net, small, images, labels).tolist() == net.certify(images, labels).certified.tolist()
    assert settled(net, small, images, labels).tolist() == [True, False, True]
    assert not settled(net, large, images, labels).any()
