"""The defender's own regulariser in the attacker's objective: noise that the defense takes for nothing unusual."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from blurnet.attacks.base import Attack, Problem, Record
from blurnet.attacks.engine.settings import replace_inside
from blurnet.attacks.patch.masked import PenaltyTerm
from blurnet.filters import scaled_gradient, total_variation, windows_over


@dataclass(frozen=True)
class WithPenalty(Attack):
    """A masked attack that maximises its objective less ``weight`` times a penalty of the picture.

    A picture that fools the model still counts more than one of a lower penalty. Only gradient attacks with a
    ``penalty`` setting can be wrapped (PatchPGD, LowFrequency), or attacks around one (BestLocation).

    Args:
        attack: the attack inside.
        penalty: pictures (N, 3, H, W) in [0, 1] to (N,), differentiable, such as :class:`MapVariation` (a net that was
            trained with small total variation) or :class:`BlockGradient` (local gradients smoothing).
        weight: of the penalty, in units of the attack's objective; a sweep over it belongs to the attack.

    Raises:
        ValueError: an attack without ``penalty``, or a weight that is negative or not finite.

    Source: Raju & Lipasti 2020 (BlurNet), the attacks that know the regulariser.
    """

    attack: Attack
    penalty: PenaltyTerm
    weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._inside()

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Those of the attack inside."""
        return self.attack.stage_names

    @property
    def clean_gradients(self) -> int:
        """Those of the attack inside."""
        return self.attack.clean_gradients

    def search(self, problem: Problem) -> Record:
        """The record of the attack inside."""
        return self._inside().search(problem)

    def _inside(self) -> Attack:
        return replace_inside(self.attack, penalty=self.penalty, weight=self.weight)


@dataclass(frozen=True)
class MapVariation:
    """Total variation of feature maps: sum of absolute differences between neighbours, mean over maps.

    Args:
        features: pictures (N, 3, H, W) to maps (N, K, h, w), such as the model up to its first convolution.
        name: how the report calls the features.

    Source: Raju & Lipasti 2020 (BlurNet), the total variation term of training.
    """

    features: Callable[[Tensor], Tensor] = field(repr=False)
    name: str = "features"

    def __call__(self, pictures: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) to (N,)."""
        return total_variation(self.features(pictures), (-1, -2)).mean(dim=1)


@dataclass(frozen=True)
class BlockGradient:
    """How far the windows of local gradients smoothing exceed their threshold, summed: 0 where no window fires.

    ``sum over windows of max(0, mean of the scaled gradient - (threshold - slack))``. The gradient magnitude is that
    of the gray picture by forward differences, the last one repeated, scaled to [0, 1] per picture (Eq. 5-6), and
    mirrored at the right and lower border until the windows reach it. A flat picture has 0.

    Args:
        block: side of the windows in pixels; None: 15, and a fifth of a shorter side below 75 pixels, at least 2.
        overlap: pixels that neighbours share; None: a third of the block.
        threshold: of the defense, the paper's gamma.
        slack: how far below it the attacker wants to stay.

    Raises:
        ValueError: an overlap that is not below the block, or a block that does not fit the picture.

    Source: Naseer et al. 2019, Eq. 5-8; the formula is that of :mod:`blurnet.filters`, no part of a defense is used.
    """

    block: int | None = None
    overlap: int | None = None
    threshold: float = 0.1
    slack: float = 0.01

    def __call__(self, pictures: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) to (N,)."""
        means = self.means(pictures)
        return (means - (self.threshold - self.slack)).clamp(min=0).flatten(1).sum(dim=1)

    def means(self, pictures: Tensor) -> Tensor:
        """The mean scaled gradient of each window, (N, 1, rows, columns)."""
        windows = windows_over(pictures.shape, self.block, self.overlap, what="BlockGradient")
        return windows.means(scaled_gradient(pictures.mean(dim=1, keepdim=True)))
