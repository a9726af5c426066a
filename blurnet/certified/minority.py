"""Minority reports: an alarm that every patch raises, or it changes nothing."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from blurnet.bounds import Fraction
from blurnet.certified.base import Certificate, Model
from blurnet.certified.masked import MaskedModel, MaskedSettings
from blurnet.certified.rounds import leads
from blurnet.certified.views import Views
from blurnet.settings import takes


@dataclass(frozen=True)
class MinoritySettings(MaskedSettings, owner="MinorityReports"):
    """Of :class:`MinorityReports`: those of :class:`~blurnet.certified.masked.MaskedSettings`, and one more.

    Args:
        threshold: the probability above which a masked view may contradict; 0: each one may. The higher, the fewer
            alarms on clean images and the fewer certificates.
    """

    threshold: Fraction = 0.0


class MinorityReports(MaskedModel):
    """Detection of patches around any classifier: the model's own logits, and :meth:`alarm`.

    The answer is the model's to the whole image. An alarm is raised where its answer under one of the masks is
    another, with a probability above ``threshold``. An image whose answers, whole and under each mask, are all
    correct and that likely is certified: some mask hides the whole patch, and there the answer stays as it is; so
    whoever turns the answer to the whole image raises the alarm. It needs the first round of masks only.

    The original slides its masks over a grid of votes, of which a patch in a corner can spoil all; here each mask
    votes alone and the masks reach into the corners.

    Args:
        model: images in [0, 1] to logits, in evaluation mode; any callable.
        settings: the fields of :class:`MinoritySettings`, as arguments of their own.

    Raises:
        ValueError, TypeError: as :class:`~blurnet.certified.double_masking.DoubleMasking`.

    Source: McCoyd et al. 2020, "Minority Reports Defense"; the rule as the authors of PatchCleanser restate it.
    """

    settings: MinoritySettings
    recovers: ClassVar[bool] = False

    @takes(MinoritySettings)
    def __init__(self, model: Model, settings: MinoritySettings) -> None:
        super().__init__(model, settings)

    def forward(self, images: Tensor) -> Tensor:
        """The model's logits (N, classes) of images (N, C, H, W) in [0, 1], gradients included."""
        self._views(images)
        logits: Tensor = self.model(images)
        return logits

    def alarm(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) of which one masked view contradicts, (N,) bool."""
        views = self._views(images)
        with torch.no_grad():
            return torch.cat([self._answers(views, block)[1] for block in torch.split(images, self.settings.batch)])

    def proven(self, images: Tensor, labels: Tensor) -> Certificate:
        """See :class:`~blurnet.certified.base.CertifiedModel`; certified: right, or an alarm."""
        views, size = self._views(images), self.settings.batch
        with torch.no_grad():
            blocks = zip(torch.split(images, size), torch.split(labels, size), strict=True)
            parts = [self._proven(views, *block) for block in blocks]
        return Certificate(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _proven(self, views: Views, images: Tensor, labels: Tensor) -> Certificate:
        logits, _, votes, sure = self._answers(views, images)
        answer = logits.argmax(1)
        certified = (answer == labels) & ((votes == labels[:, None]) & sure).all(1)
        agreement = (votes == answer[:, None]).all(1)
        return Certificate(certified, logits, agreement, torch.full_like(answer, 1 + votes.shape[1]))

    def _answers(self, views: Views, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits (n, classes) of the whole images, alarms (n,), answers (n, M) under masks, which surely are heard."""
        whole = self.model(images)
        answer = whole.argmax(1)
        places = torch.cartesian_prod(
            torch.arange(len(images), device=images.device), torch.arange(len(views.hidden), device=images.device)
        )
        votes, heard, sure = [], [], []
        for _, logits in views.answers(images, places):
            lead, vote = leads(logits)
            likely = logits.softmax(1).amax(1)
            votes.append(vote)
            heard.append(likely > self.settings.threshold)
            firm = lead >= self.settings.margin * logits.abs().amax(1)
            sure.append(firm & (likely > self.settings.threshold + self.settings.margin))
        vote, loud, certain = (torch.cat(rows).view(len(images), -1) for rows in (votes, heard, sure))
        return whole, ((vote != answer[:, None]) & loud).any(1), vote, certain
