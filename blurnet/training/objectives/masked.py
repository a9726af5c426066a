"""Training on masked images, for nets that are to be certified behind double masking."""

import copy
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blurnet.bounds import Count, Fraction
from blurnet.certified.double_masking import DoubleMasking
from blurnet.certified.mask_set import MaskSet
from blurnet.certified.masked import MaskedSettings
from blurnet.modes import resting
from blurnet.nets.vision import device_of
from blurnet.training.objectives.adversarial import Mixture
from blurnet.training.objectives.base import ACCURACY, Objective, pairing
from blurnet.training.objectives.inner import AttackedView

#: Views in a batch of a certificate, at least; more where the validation's batch is larger.
VIEWS = 64


@dataclass(frozen=True, kw_only=True)
class MaskTraining(Mixture):
    """Greedy cutout: each image under the masks of double masking that hurt it most, one chosen after the other.

    Of ``tries`` masks drawn for an image that of the largest loss is taken, then of as many others the one that is
    worst beside the first. With one try the masks are random, as in the original; with as many as there are masks, or
    more, each is tried. What the masks stand in front of is the whole net with its transformations.

    The loss is ``clean C + (1 - clean) M``. C is CE(x) of the whole images, or with ``unmasked`` the loss of another
    objective on them: the net then passes the masked images first and the other's images after, so that batch
    statistics move twice, and penalties of feature maps are those of the other's images. M, of the masked images x', is
    ``(1 - distill) CE(x') + distill CE(x', p)``, p the softmax that the teacher answers to the whole image. With
    ``distill=1`` the masks are those that lead furthest from the teacher's answers; with ``clean=0`` beside it no label
    is used at all. Else the masks are those that lead furthest from the labels.

    A validation measures the share of images that are certified behind double masking with these masks, and the epoch
    of the largest share is kept as the best.

    Args:
        area: the square patch's share of the image; or patch: its side, or (height, width), in pixels.
        masks: k, masks along each axis, from 2. fill: value of hidden pixels. All four as in
            :class:`~blurnet.certified.double_masking.DoubleMasking`, which the net is to stand behind.
        count: masks an image, 1 or 2.
        tries: masks drawn for each of them; each costs a pass without gradients.
        distill: of the weight of the masked images, the share of the teacher's answers.
        teacher: "self" is the net itself at that moment, "start" a copy of the net as the run started, in evaluation
            mode, which takes no gradient and is not exported.
        unmasked: what is minimised over the whole images, with weight ``clean``; None is their cross entropy.
        certify: measure the certified share; without it the best epoch is that of the best clean accuracy.

    Source: Xiang et al. 2022, "PatchCleanser", for two masks at random; arXiv 2306.12610 for the greedy choice (greedy
    cutout), there over all masks. The number of tries, the teachers, and other objectives beside it are ours.
    """

    area: float | None = 0.05
    patch: int | tuple[int, int] | None = None
    masks: int = 4
    fill: float = 0.5
    count: Literal[1, 2] = 2
    tries: Count = 6
    distill: Fraction = 0.0
    teacher: Literal["self", "start"] = "self"
    unmasked: Objective | None = None
    certify: bool = True
    _start: nn.Module | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._settings()  # bad settings raise here, not in the first batch
        if self.teacher == "start" and not self.distill:
            raise ValueError("MaskTraining teacher: 'start' is asked nothing with distill=0; give distill, up to 1")
        if self.unmasked is None:
            return
        if isinstance(self.unmasked, MaskTraining):
            raise ValueError("MaskTraining unmasked: expected an objective of whole images, got one of masked images")
        if not self.clean or self.pairing:
            raise ValueError(
                "MaskTraining unmasked: its weight is clean, expected above 0, and pairing, of plain whole images, 0; "
                f"got clean={self.clean}, pairing={self.pairing}"
            )

    @property
    def parts(self) -> tuple[Objective, ...]:
        """See :attr:`Objective.parts`."""
        return (self,) if self.unmasked is None else (self, *self.unmasked.parts)

    @property
    def measures(self) -> tuple[str, ...]:
        """See :attr:`Objective.measures`: what is certified, if that is wanted."""
        return ("certified",) if self.certify else ()

    @property
    def monitor(self) -> str:
        """See :attr:`Objective.monitor`."""
        return "val/certified" if self.certify else ACCURACY

    def check(self, net: nn.Module, *, trained: bool) -> None:
        """See :meth:`Objective.check`: a teacher knows something, and a net that draws numbers has no certificate."""
        if self.teacher == "start" and not trained:
            raise ValueError("MaskTraining teacher: 'start' would be a net of random weights; give weights")
        drawing = (type(m).__name__ for m in net.modules() if getattr(m, "random", False) is True)
        if self.certify and (name := next(drawing, None)):
            raise ValueError(
                f"MaskTraining: {name} draws random numbers, and a certificate needs a deterministic net; leave it "
                "out, or keep the epoch of the best clean accuracy with certify=False"
            )

    def begin(self, net: nn.Module) -> Objective:
        """See :meth:`Objective.begin`: with the teacher as the net is now; a run that has one keeps it."""
        if self.teacher == "self" or self._start is not None:
            return self
        begun = copy.copy(self)
        object.__setattr__(begun, "_start", copy.deepcopy(net).eval().requires_grad_(False))
        return begun

    def validate(self, net: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """See :meth:`Objective.validate`."""
        if not self.certify:
            return {}
        batch = max(VIEWS, len(images))
        defended = DoubleMasking(net, self.area, self.patch, masks=self.masks, fill=self.fill, batch=batch)
        return {"certified": defended.certify(images, labels).certified}

    def loss(self, net: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """See :meth:`Objective.loss`."""
        if self.unmasked is not None:
            return self._beside(self.unmasked, net, images, labels, generator)
        if self.clean == 1 or not self.distill:
            return super().loss(net, images, labels, generator)
        answers = self._answers(net, images) if self.teacher == "start" or self._by_answers else None
        masked = self._masked(net, images, labels, answers, generator)
        if self.teacher == "start" and not self.clean and not self.pairing:
            logits = net(masked)
            return self._pull(logits, labels, answers), logits
        logits, moved = net(torch.cat([images, masked])).chunk(2)
        loss = (1 - self.clean) * self._pull(moved, labels, logits.detach() if self.teacher == "self" else answers)
        if self.clean:
            loss = loss + self.clean * self.cross_entropy(logits, labels)
        return (loss + self.pairing * pairing(logits, moved) if self.pairing else loss), logits

    def _beside(
        self, other: Objective, net: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The loss with another objective for the whole images, and the logits that it counts from."""
        if self.clean == 1:
            return other.loss(net, images, labels, generator)
        answers = self._answers(net, images) if self.distill else None
        moved = net(self._masked(net, images, labels, answers, generator))
        loss, logits = other.loss(net, images, labels, generator)
        return self.clean * loss + (1 - self.clean) * self._pull(moved, labels, answers), logits

    def adversarial(self, net: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """The masked images; see :meth:`Mixture.adversarial`."""
        answers = self._answers(net, images) if self._by_answers else None
        return self._masked(net, images, labels, answers, generator)

    @property
    def _by_answers(self) -> bool:
        """Whether the teacher's answers choose the masks."""
        return self.distill == 1 and self.tries > 1

    def _answers(self, net: nn.Module, images: Tensor) -> Tensor:
        """The teacher's logits (N, classes) of the whole images, without a gradient."""
        if self.teacher == "self":
            with resting(net):
                own: Tensor = net(images)
            return own
        if self._start is None:
            raise ValueError("MaskTraining teacher: 'start' is the net that a run begins with; call begin(net) first")
        if device_of(self._start) != images.device:
            self._start.to(images.device)
        with torch.no_grad():
            answers: Tensor = self._start(images)
        return answers

    def _pull(self, moved: Tensor, labels: Tensor, answers: Tensor | None) -> Tensor:
        """Loss of logits (N, classes) of masked images; what has no weight is not looked at."""
        if not self.distill or answers is None:
            return self.cross_entropy(moved, labels)
        loss = self.distill * F.cross_entropy(moved.float(), answers.float().softmax(1))
        return loss if self.distill == 1 else loss + (1 - self.distill) * self.cross_entropy(moved, labels)

    def _masked(
        self, net: nn.Module, images: Tensor, labels: Tensor, answers: Tensor | None, generator: torch.Generator
    ) -> Tensor:
        """Each image under its masks."""
        hidden = self._set_for((images.shape[-2], images.shape[-1])).hidden(images.device)
        truth = labels if answers is None or not self._by_answers else answers.float().softmax(1)
        view, chosen = AttackedView(net), images
        with resting(view):
            for _ in range(self.count):
                chosen = self._worst(view, chosen, truth, hidden, generator)
        return chosen

    def _worst(
        self, net: nn.Module, images: Tensor, truth: Tensor, hidden: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Each image under that of some masks (M, H, W) whose loss to the classes (N,), or their shares, is largest."""
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
            value = F.cross_entropy(net(tried).float(), truth, reduction="none")
            worst = torch.where((value > most).view(-1, 1, 1, 1), tried, worst)
            most = torch.maximum(most, value)
        return worst

    def _settings(self) -> MaskedSettings:
        return MaskedSettings(area=self.area, patch=self.patch, masks=self.masks, fill=self.fill)

    def _set_for(self, size: tuple[int, int]) -> MaskSet:
        return self._settings().set_for(size)
