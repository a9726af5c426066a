"""A patch by queries alone: where it lies, what it paints."""

import pytest
import torch

from blurnet.attacks.patch.random_search import PatchRandomSearch
from blurnet.masks import Place, box_masks, rp2_stickers


def test_a_free_patch_is_one_square_and_moves(problem):
    record = PatchRandomSearch(0.1, steps=80, stop=False).record(problem.net, problem.images, problem.labels)
    inside = box_masks((16, 16), record.box).bool()
    changed = (record.adversarial != problem.images).any(dim=1, keepdim=True)
    assert not (changed & ~inside).any()
    assert (inside.flatten(1).sum(1) == 25).all()  # 10 % of 256 pixels
    assert len({tuple(box) for box in record.box.tolist()}) > 1


def test_masks_of_any_shape_are_filled(problem):
    """Stickers fill a small part of their box; every one of them is recoloured, nothing else is touched."""
    mask = rp2_stickers(16)
    adversarial = PatchRandomSearch(mask=mask, steps=100, stop=False)(problem.net, problem.images, problem.labels)
    changed = (adversarial != problem.images).any(dim=1, keepdim=True)
    assert torch.equal(changed, mask.bool().expand_as(changed))
    assert set(adversarial[:, :, mask[0, 0].bool()].unique().tolist()) <= {0.0, 1.0}


def test_the_report_line_names_what_binds(problem):
    assert repr(PatchRandomSearch(0.1)).startswith("PatchRandomSearch(area=0.1, mask=None, steps=1000")
    assert "area" not in repr(PatchRandomSearch(mask=problem.mask))
    assert "mask=Place(area=0.2" in repr(PatchRandomSearch(mask=Place(0.2)))


def test_on_the_authors_net(authors_net, victims):
    x, y = victims[:10], torch.full((10,), 14)
    adversarial = PatchRandomSearch(0.1, steps=200)(authors_net, x, y)
    with torch.no_grad():
        assert (authors_net(adversarial).argmax(1) != 14).sum() >= 9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PatchRandomSearch(0), "area: expected a share of the image in .*, got 0"),
        (lambda: PatchRandomSearch(steps=-1), "steps: expected from 0, got -1"),
        (lambda: PatchRandomSearch(share=1.5), "share: expected a share in .*, got 1.5"),
        (lambda: PatchRandomSearch(move_every=0), "move_every: expected from 1, got 0"),
        (lambda: PatchRandomSearch(target="third"), "target: expected one of .'second'"),
    ],
)
def test_bad_settings_raise(make, message):
    with pytest.raises(ValueError, match=message):
        make()
