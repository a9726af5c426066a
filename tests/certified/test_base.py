"""The interface of certified defenses; the conformance suite holds each of them."""

import pytest
import torch
from torch import Tensor, nn

from blurnet.certified.base import Certificate, CertifiedModel


class Constant(CertifiedModel):
    """Answers 0 to everything, which no patch can change: a fourth defense is one file."""

    def forward(self, images: Tensor) -> Tensor:
        self.check_model()
        return torch.eye(2)[torch.zeros(len(images), dtype=torch.int64)]

    def threat(self, image_size: tuple[int, int]) -> str:
        return "anything"

    def covers(self, image_size: tuple[int, int], patches: Tensor) -> bool:
        return True

    def proven(self, images: Tensor, labels: Tensor) -> Certificate:
        logits = self(images)
        answer = logits.argmax(1)
        return Certificate(answer == labels, logits, answer == 0, torch.zeros_like(answer))


def test_a_fourth():
    found = Constant(nn.Identity().eval()).certify(torch.rand(3, 3, 8, 8), torch.tensor([0, 1, 0]))
    assert found.certified.tolist() == [True, False, True]


def test_its_mode_is_the_model_s():
    assert not Constant(nn.Identity().eval()).training
    model = Constant(nn.Identity())
    assert model.training
    with pytest.raises(ValueError, match="Constant: Identity is in training mode"):
        model(torch.rand(1, 3, 8, 8))
    assert model.eval()(torch.rand(1, 3, 8, 8)).argmax() == 0
