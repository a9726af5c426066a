"""Smoothing over partial images: votes, and how many of them a patch reaches."""

import itertools

import pytest
import torch

from blurnet.certified.derandomized import Derandomized
from blurnet.masks import box_masks, grid_boxes
from tests.certified.toys import images_for, random_net


@pytest.mark.parametrize(
    ("width", "patch", "kept", "stride", "reached"),
    [(224, 32, 19, 10, 6), (224, 39, 19, 10, 7), (224, 32, 19, 5, 11), (224, 32, 19, 1, 50), (32, 5, 4, 1, 8)],
)
def test_counts_at_the_seam(width, patch, kept, stride, reached):
    """The published formula says 5, 6 and 10 for the first three."""
    model = Derandomized(random_net(0), patch=patch, width=kept, stride=stride)
    assert model.reached((patch + 1, width)) == reached


@pytest.mark.parametrize("kind", ["columns", "rows", "blocks"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_counts_are_those_of_every_place(kind, stride):
    """Partial images that show a pixel of the patch, counted one place after another."""
    for (height, width), kept in itertools.product([(2, 2), (1, 3), (3, 1)], (1, 2, 4)):
        model = Derandomized(random_net(0), patch=(height, width), kind=kind, width=kept, stride=stride)
        shown = model._kept((8, 9))
        patches = box_masks((8, 9), grid_boxes((8, 9), (height, width)))[:, 0].bool()
        most = max(int((shown & patch).flatten(1).any(1).sum()) for patch in patches)
        assert model.reached((8, 9)) == most


def test_votes():
    """One for each partial image, or for every class above the threshold."""
    net, images = random_net(1), images_for(6)
    for threshold in (None, 0.3):
        model = Derandomized(net, patch=2, width=3, threshold=threshold, batch=7)
        wanted = torch.zeros(6, 4)
        for start in range(8):
            keep = torch.zeros(8, dtype=torch.bool)
            keep[[(start + i) % 8 for i in range(3)]] = True
            logits = net(torch.where(keep, images, 0.5))
            wanted += (
                torch.nn.functional.one_hot(logits.argmax(1), 4) if threshold is None else logits.softmax(1) > threshold
            )
        assert torch.equal(model(images), wanted)


@pytest.mark.parametrize(("votes", "label", "certified"), [
    ([6, 1, 1], 0, True),  # leads by 5 > 2 x 2
    ([1, 6, 1], 1, True),
    ([6, 2, 0], 0, True),  # by just 4, and its class comes first
    ([2, 6, 0], 1, False),  # by just 4, behind the other
    ([5, 2, 1], 0, False),
    ([6, 1, 1], 1, False),
])  # fmt: skip
def test_the_rule_of_the_certificate(votes, label, certified):
    """Of 8 columns of one pixel a patch of 2x2 reaches 2."""
    answers = [number for number, count in enumerate(votes) for _ in range(count)]

    def net(x: torch.Tensor) -> torch.Tensor:
        column = (x != 0.5).any(1).any(1).float().argmax(1)
        return torch.nn.functional.one_hot(torch.tensor(answers)[column], 3).float()

    model = Derandomized(net, patch=2, width=1)
    found = model.certify(torch.full((1, 3, 8, 8), 0.25), torch.tensor([label]))
    assert model.reached((8, 8)) == 2
    assert found.certified.tolist() == [certified]
    assert found.passes.tolist() == [8]
