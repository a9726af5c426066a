"""Training on masked images, for nets that are to be certified behind double masking."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blurnet.bounds import Count, Fraction
from blurnet.certified.mask_set import MaskSet
from blurnet.certified.masked import MaskedSettings
from blurnet.modes import resting
from blurnet.training.objectives.adversarial import Mixture
from blurnet.training.objectives.base import pairing
from blurnet.training.objectives.inner import AttackedView


@dataclass(frozen=True, kw_only=True)
class MaskTraining(Mixture):
    """Greedy cutout: each image under the masks of double masking that hurt it most, one chosen after the other.

    Of ``tries`` masks drawn for an image that of the largest loss is taken, then of as many others the one that is
    worst beside the first. With one try the masks are random, as in the original; with as many as there are masks, or
    more, each is tried. What the masks stand in front of is the whole net with its transformations.

    With ``distill`` the masked image is also pulled to what the net itself answers to the whole one at that moment,
    which asks for no more labels than the rest: ``clean`` and ``1 - distill`` keep it to the truth.

    Args:
        area: the square patch's share of the image; or patch: its side, or (height, width), in pixels.
        masks: k, masks along each axis, from 2. fill: value of hidden pixels. All four as in
            :class:`~blurnet.certified.double_masking.DoubleMasking`, which the net is to stand behind.
        count: masks an image, 1 or 2.
        tries: masks drawn for each of them; each costs a pass without gradients.
        distill: of the weight of the masked images, the share of the net's own answers.

    Source: Xiang et al. 2022, "PatchCleanser", for two masks at random; arXiv 2306.12610 for the greedy choice (greedy
    cutout), there over all masks. The number of tries and the pull to the net's own answers are ours.
    """

    area: float | None = 0.05
    patch: int | tuple[int, int] | None = None
    masks: int = 4
    fill: float = 0.5
    count: Literal[1, 2] = 2
    tries: Count = 6
    distill: Fraction = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._settings()  # bad settings raise here, not in the first batch

    def loss(self, net: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """See :meth:`Objective.loss`."""
        if not self.distill or self.clean == 1:
            return super().loss(net, images, labels, generator)
        masked = self.adversarial(net, images, labels, generator)
        logits, moved = net(torch.cat([images, masked])).chunk(2)
        own = F.cross_entropy(moved.float(), logits.detach().float().softmax(1))
        loss = (1 - self.distill) * self.cross_entropy(moved, labels) + self.distill * own
        loss = self.clean * self.cross_entropy(logits, labels) + (1 - self.clean) * loss
        return (loss + self.pairing * pairing(logits, moved) if self.pairing else loss), logits

    def adversarial(self, net: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """The masked images; see :meth:`Mixture.adversarial`."""
        hidden = self._set_for((images.shape[-2], images.shape[-1])).hidden(images.device)
        view, chosen = AttackedView(net), images
        with resting(view):
            for _ in range(self.count):
                chosen = self._worst(view, chosen, labels, hidden, generator)
        return chosen

    def _worst(
        self, net: nn.Module, images: Tensor, labels: Tensor, hidden: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Each image under that of some masks (M, H, W) whose loss is largest."""
        masks, n = len(hidden), len(images)
        if self.tries >= masks:
            drawn = torch.arange(masks, device=images.device)[:, None].expand(-1, n)
        else:
            drawn = torch.rand(masks, n, generator=generator, device=images.device).argsort(0)[: self.tries]
        worst, most = images, images.new_full((n,), -torch.inf, dtype=torch.float32)
        for mask in drawn:
            tried = torch.where(hidden[mask][:, None], self.fill, images)
            if len(drawn) == 1:
                return tried
            value = F.cross_entropy(net(tried).float(), labels, reduction="none")
            worst = torch.where((value > most).view(-1, 1, 1, 1), tried, worst)
            most = torch.maximum(most, value)
        return worst

    def _settings(self) -> MaskedSettings:
        return MaskedSettings(area=self.area, patch=self.patch, masks=self.masks, fill=self.fill)

    def _set_for(self, size: tuple[int, int]) -> MaskSet:
        return self._settings().set_for(size)
