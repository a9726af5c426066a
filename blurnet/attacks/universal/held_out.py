"""A universal patch put on images that it was not made from."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from blurnet.attacks.base import Attack, Problem, Record
from blurnet.attacks.universal.adversarial_patch import AdversarialPatch
from blurnet.attacks.universal.poses import Poses
from blurnet.bounds import Positive, Steps
from blurnet.checks import check_images, check_labels
from blurnet.masks import Area, Place, patch_side


@dataclass(frozen=True)
class HeldOutPatch(Attack):
    """One square patch for all images, trained on others, at a random place of each image.

    :class:`~blurnet.attacks.universal.adversarial_patch.AdversarialPatch` makes the patch on the held-out images:
    upright, at places drawn anew at every step. It is then pasted, pixel for pixel, where
    ``Place(area, "anywhere", seed)`` says. Neither patch nor place depends on the batch. It is weaker than an attack on
    each image by itself: it measures the sticker that is printed once and works on signs never seen.

    Args:
        images: what the patch is made on, (M, 3, H, W) in [0, 1], of the attacked images' size.
        labels: (M,) integers.
        area: share of the image that the patch covers.
        target: class to show; None moves images away from their labels.
        steps: gradient steps. lr: their size, in pixel units, of Adam.
        origin: how reports call the held-out images.
        seed: of batches, poses and places.

    Raises:
        ValueError, TypeError: bad images, labels or settings, or attacked images of another size.

    Source: Brown et al. 2017.
    """

    images: Tensor = field(compare=False)
    labels: Tensor = field(compare=False)
    area: Area = 0.05
    target: int | None = None
    steps: Steps = 500
    lr: Positive = 0.05
    origin: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_images(self.images, name="HeldOutPatch images")
        check_labels(self.labels, n=len(self.images), name="HeldOutPatch labels")
        self._maker()

    def search(self, problem: Problem) -> Record:
        """See the class; an image has fallen where the answer, asked once more, is wrong."""
        images = problem.images
        if images.shape[1:] != self.images.shape[1:]:
            ours, theirs = tuple(self.images.shape[1:]), tuple(images.shape[1:])
            raise ValueError(f"HeldOutPatch images: made on images {ours}, put on images {theirs}")
        labels = self.labels.to(images.device, torch.int64, copy=True)
        patch = self._maker().trained(
            [problem.model], self.images.to(images, copy=True), labels, problem.clean.shape[1]
        )
        pasted, boxes = images.clone(), Place(self.area, "anywhere", self.seed).boxes(images)
        for image, (top, bottom, left, right) in zip(pasted, boxes.tolist(), strict=True):
            image[:, top:bottom, left:right] = patch.pixels
        return problem.record(pasted, box=boxes)

    def _maker(self) -> AdversarialPatch:
        height, width = self.images.shape[-2:]
        side = patch_side((height, width), self.area)
        return AdversarialPatch(
            self.target,
            area=side**2 / (height * width),
            shape="square",
            size=side,
            poses=Poses(rotation=0.0),
            steps=self.steps,
            lr=self.lr,
            seed=self.seed,
        )
