"""Objectives that train on images with a patch: rectangles at their worst place (DOA), and patches anywhere."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from blurnet.attacks.engine.losses import Loss
from blurnet.attacks.engine.views import Brightness, Resize, Rotation, Transformation
from blurnet.attacks.patch.location import BestLocation
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.bounds import Fraction, NotNegative
from blurnet.masks import Place, Where
from blurnet.training.objectives.adversarial import Mixture
from blurnet.training.objectives.inner import AttackedView, Target


@dataclass(frozen=True, kw_only=True)
class OcclusionTraining(Mixture):
    """Defense against occlusion attacks (DOA): a gray rectangle at each image's worst place, then PGD inside it.

    Places lie on a grid that includes the last row and column. The most harmful picture of the ascent is trained on.

    Args:
        size: side of the rectangle, or (height, width), in pixels: 7 or (10, 5) in the paper's experiments on signs.
        stride: pixels between neighbouring places.
        shortlist: how many places with the largest squared input gradient are tried; None tries all places.
        steps: of the ascent inside the rectangle.
        step_size: in pixel units.

    Source: Wu et al. 2020, section 4, and their code (phattacks) for the settings on LISA.
    """

    size: int | tuple[int, int] = 7
    stride: int = 2
    shortlist: int | None = 5
    steps: int = 30
    step_size: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        self._attack()  # bad settings raise here, not in the first batch

    def adversarial(self, net: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """See :meth:`Mixture.adversarial`; nothing is drawn."""
        return self._attack()(AttackedView(net), images, labels)

    def _attack(self) -> BestLocation:
        inner = PatchPGD(
            loss="cross-entropy", steps=self.steps, optimizer="sign", lr=self.step_size, start="gray", stop=False
        )
        place = {"size": self.size, "stride": self.stride, "shortlist": self.shortlist}
        return BestLocation(inner, **place, loss="cross-entropy")  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class PatchTraining(Mixture):
    """Training on square patches of free noise, at a place that is drawn anew for each image and step.

    With the margin loss the patch is LaVAN's. With several samples, each step climbs the mean over random views of the
    picture (expectation over transformations); the pictures that are trained on are not transformed.

    Args:
        area: share of the image that the patch covers.
        where: "anywhere", "border" or "center".
        climb: what the attack climbs: "margin", "cross-entropy" or "dlr".
        target: pull towards a class: "random", "least-likely" or "second"; None is untargeted.
        steps: of the attack, along the gradient's sign from uniform noise.
        step_size: in pixel units.
        samples: views a step.
        rotation: largest angle of a view, in degrees.
        resize: views are scaled by a factor in [1 - resize, 1 + resize].
        brightness: views are multiplied by a factor in [1 - brightness, 1 + brightness].

    Source: Karmon et al. 2018 (LaVAN); Athalye et al. 2018 (views); Rao et al. 2020 (training at random places).
    """

    area: float = 0.05
    where: Where = "anywhere"
    climb: Loss = "margin"
    target: Target | None = None
    steps: int = 10
    step_size: float = 0.1
    samples: int = 1
    rotation: NotNegative = 0.0
    resize: Fraction = 0.0
    brightness: Fraction = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._attack(0)  # bad settings raise here, not in the first batch

    def adversarial(self, net: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """See :meth:`Mixture.adversarial`."""
        seed = int(torch.randint(2**31, (), generator=generator, device=images.device))
        return self._attack(seed)(AttackedView(net), images, labels)

    def _attack(self, seed: int) -> PatchPGD:
        return PatchPGD(
            mask=Place(self.area, self.where, seed),
            target=self.target,
            loss=self.climb,
            steps=self.steps,
            optimizer="sign",
            lr=self.step_size,
            stop=False,
            eot_samples=self.samples,
            transformations=self._views(),
            seed=seed,
        )

    def _views(self) -> tuple[Transformation, ...]:
        views: list[Transformation] = []
        if self.rotation:
            views.append(Rotation(self.rotation))
        if self.resize:
            views.append(Resize(1 - self.resize, 1 + self.resize))
        if self.brightness:
            views.append(Brightness(1 - self.brightness, 1 + self.brightness))
        return tuple(views)
