"""Double masking: an answer that no patch can turn, around any classifier (PatchCleanser)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from blurnet.certified.base import Certificate, Model
from blurnet.certified.masked import MaskedModel, MaskedSettings
from blurnet.certified.rounds import Rounds
from blurnet.certified.views import Views
from blurnet.settings import takes


@dataclass(frozen=True)
class DoubleMaskingSettings(MaskedSettings):
    """Of :class:`DoubleMasking`: those of :class:`~blurnet.certified.masked.MaskedSettings`."""


class DoubleMasking(MaskedModel):
    """PatchCleanser's double masking around any classifier: images to logits, and certificates.

        net = blurnet.DoubleMasking(net, area=0.05)
        certificate = net.certify(images, labels)

    An image is answered under each mask. Where all k x k answers agree, that is the answer. Else each mask whose
    answer is not the majority's is tried in turn: where every second mask leaves its answer, that is the answer.
    Where none is confirmed, the majority's is. An image that is answered correctly under every pair of masks is
    certified: some mask hides the whole patch, so its answer is right and is confirmed, while a wrong answer meets
    that mask as its second and is refuted.

    The logits are those of the view that decided: of a vote, the one whose change would turn it; of a second round,
    the one nearest to another answer. So a margin falls as an attack succeeds. Where a gradient is recorded it is
    that of all views that spoke for the answer (of a vote their mean; of a second round, weighted towards those
    nearest to another answer, beside the votes), not of the one view: plain attacks climb it. Parameters get none:
    train the net itself, with masks.

    The masks stand in front of everything: put transformations, resizing and normalisation into ``model``, never
    in front, where they would spread a patch beyond its mask.

    Args:
        model: images in [0, 1] to logits, in evaluation mode; any callable.
        settings: the fields of :class:`~blurnet.certified.masked.MaskedSettings`, as arguments of their own.

    Raises:
        ValueError, TypeError: bad settings; at a call, a patch that does not fit the images, or a model in training
            mode or with random parts.

    Source: Xiang et al. 2022, "PatchCleanser", Algorithms 1 and 2; here images side by side.
    """

    @takes(DoubleMaskingSettings)
    def __init__(self, model: Model, settings: DoubleMaskingSettings) -> None:
        super().__init__(model, settings)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W) in [0, 1]; their largest is the defended answer."""
        views = self._views(images)
        return torch.cat([self._answered(views, block) for block in torch.split(images, self.settings.batch)])

    def proven(self, images: Tensor, labels: Tensor) -> Certificate:
        """See :class:`CertifiedModel`."""
        views = self._views(images)
        blocks = zip(torch.split(images, self.settings.batch), torch.split(labels, self.settings.batch), strict=True)
        parts = [self._proven(views, *block) for block in blocks]
        return Certificate(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _proven(self, views: Views, images: Tensor, labels: Tensor) -> Certificate:
        with torch.no_grad():
            rounds = Rounds(views, images, self.settings.margin)
            certified = rounds.all_pairs(labels)
            logits = rounds.deciding(rounds.second())
        return Certificate(certified, logits, rounds.agreement, rounds.passes)

    def _answered(self, views: Views, images: Tensor) -> Tensor:
        with torch.no_grad():
            rounds = Rounds(views, images.detach(), self.settings.margin)
            confirmed = rounds.second()
            value = rounds.deciding(confirmed)
        if not (torch.is_grad_enabled() and images.requires_grad):
            return value
        places, weights = rounds.speaking(confirmed)
        return views.steered(images, value, places, weights)
