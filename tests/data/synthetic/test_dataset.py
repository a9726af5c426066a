"""The synthetic data set: each item a pure function of (seed, split, index)."""

import copy
import pickle

import pytest
import torch
from torch.utils.data import DataLoader

from blurnet.checks import check_images, check_mask
from blurnet.data.labels import LISA_CLASSES, LISA_OUTPUTS_18
from blurnet.data.synthetic.dataset import SyntheticSigns


@pytest.fixture(scope="module")
def signs() -> SyntheticSigns:
    return SyntheticSigns("train", size=17 * 8 + 3, seed=5)


@pytest.fixture(scope="module")
def images(signs: SyntheticSigns) -> torch.Tensor:
    return signs.tensors(progress=False)[0]


def test_items_are_images_in_range(images: torch.Tensor) -> None:
    check_images(images, size=(32, 32))
    assert images.dtype == torch.float32


def test_batched_rendering_equals_single(signs: SyntheticSigns, images: torch.Tensor) -> None:
    for i in (0, 13, 63, 64, 100, len(signs) - 1):
        torch.testing.assert_close(signs[i][0], images[i], atol=1e-6, rtol=0)
    several = signs.__getitems__([100, 3])
    torch.testing.assert_close(several[0][0], images[100], atol=1e-6, rtol=0)
    assert [label for _, label in several] == [signs[100][1], signs[3][1]]


def test_items_do_not_depend_on_size_order_or_copy(signs: SyntheticSigns) -> None:
    first = signs[20][0]
    assert torch.equal(first, SyntheticSigns("train", size=21, seed=5)[20][0])
    assert torch.equal(first, copy.deepcopy(signs)[20][0])
    assert torch.equal(first, pickle.loads(pickle.dumps(signs))[20][0])
    torch.manual_seed(123)
    assert torch.equal(first, signs[20][0])


def test_seeds_and_splits_are_disjoint(images: torch.Tensor) -> None:
    others = [SyntheticSigns("val", 34, 5), SyntheticSigns("test", 34, 5), SyntheticSigns("train", 34, 6)]
    seen = torch.cat([images, *(other.tensors(progress=False)[0] for other in others)]).flatten(1)
    apart = torch.cdist(seen, seen) + torch.eye(len(seen)) * 100
    assert apart.min() > 0.3


@pytest.mark.parametrize("outputs", [17, 18])
def test_labels_are_balanced_and_named(outputs: int) -> None:
    signs = SyntheticSigns("val", size=36, outputs=outputs)  # type: ignore[arg-type]
    _, labels = signs.tensors(progress=False)
    assert signs.classes == (LISA_CLASSES if outputs == 17 else LISA_OUTPUTS_18)
    assert len(signs.classes) == outputs
    counts = torch.bincount(labels, minlength=outputs)[outputs - 17 :]
    assert counts.max() - counts.min() == 1
    assert signs.classes[signs[13][1]] == "stop"


def test_a_loader_keeps_the_order(signs: SyntheticSigns, images: torch.Tensor) -> None:
    batch, labels = next(iter(DataLoader(signs, batch_size=20)))
    torch.testing.assert_close(batch, images[:20], atol=1e-6, rtol=0)
    assert labels.tolist() == [i % 17 + 1 for i in range(20)]


def test_both_colour_and_gray_occur(images: torch.Tensor) -> None:
    colourful = (images.amax(1) - images.amin(1)).mean((1, 2)) > 0.05
    assert 0.2 < colourful.float().mean() < 0.8


def test_masks_cover_the_sign(signs: SyntheticSigns) -> None:
    shares = {"stop": (0.6, 0.95), "yield": (0.3, 0.65), "merge": (0.33, 0.7), "speedLimit25": (0.6, 1.0)}
    for name, (low, high) in shares.items():
        masks = torch.stack([signs.mask(LISA_CLASSES.index(name) + 17 * k) for k in range(6)])
        check_mask(masks, torch.zeros(6, 3, 32, 32))
        covered = masks.mean((1, 2, 3))
        assert low < covered.min(), name
        assert covered.max() < high, name
        assert masks[:, :, 14:18, 14:18].all(), name


def test_other_image_sizes() -> None:
    small, large = (SyntheticSigns(size=14, image_size=s)[13][0] for s in (32, 48))
    assert large.shape == (3, 48, 48)
    # The same photograph but for its noise.
    again = torch.nn.functional.interpolate(large[None], size=32, mode="area")[0]
    assert (again - small).abs().mean() < 0.08
    assert SyntheticSigns("test", size=1, image_size=17).mask(0).shape == (1, 17, 17)


def test_indices() -> None:
    signs = SyntheticSigns(size=3)
    assert torch.equal(signs[-1][0], signs[2][0])
    for index in (3, -4):
        with pytest.raises(IndexError, match="outside a data set of 3 items"):
            signs[index]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"split": "validation"}, ValueError, r"split: expected one of \['train', 'val', 'test'\], got 'validation'"),
        ({"size": 0}, ValueError, "size must be at least 1, got 0"),
        ({"size": 2.5}, TypeError, "size must be an int, got 2.5"),
        ({"seed": None}, TypeError, "seed must be an int, got None"),
        ({"seed": True}, TypeError, "seed must be an int, got True"),
        ({"image_size": 4}, ValueError, "image_size must be at least 8 pixels, got 4"),
        ({"outputs": 16}, ValueError, "got 16"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SyntheticSigns(**arguments)  # type: ignore[arg-type]
