"""The settings of a deep image prior."""

from dataclasses import dataclass, field, replace
from typing import Annotated

from blurnet.bounds import Bounds, Count, NotNegative, Positive, Steps
from blurnet.settings import Settings
from blurnet.transforms.deep_image_prior.nets import NETS, Activation, Hourglass, NetName
from blurnet.transforms.deep_image_prior.stopping import Rule, StopName, rule_named


@dataclass(frozen=True)
class DeepImagePriorSettings(Settings):
    """Of :func:`~blurnet.transforms.deep_image_prior.deep_image_prior.deep_image_prior`.

    Args:
        iterations: of Adam, at most; the poster's 1750.
        stop: "fixed", the last; without a label: "es-wmv", "es-emv", or "psnr" (DIPDefend's).
        net: a shape by name: "small" (ours, for a CPU), "tiny" (DIPDefend's), "snail" or "reference" (Ulyanov et al.'s
            small and large one).
        widths: channels of each scale, in place of the named net's.
        skips: channels of each scale's skip, 0 for none, in place of the named net's.
        activation: "swish" as on the poster, or another.
        lr: of Adam.
        input_noise: standard deviation of what is added to the net's input at every iteration. The authors' 1/30 is as
            much as their input of 32 channels spreads itself; with the few channels of the small nets it slows the fit.
        average: weight of the past in the moving average of outputs, which is what comes back; 0: the output itself.
        patience: of "es-wmv" and "es-emv", in iterations; None: a fifth of ``iterations``.
        unroll: the surrogate is the gradient through the last so many steps of Adam that an output sees; 0 takes the
            identity's.
        chunk: images whose nets run as one; None: on a CPU 1, several of them in threads, elsewhere as many as keep
            4 GiB for the backward pass.
        seed: of the draws.

    Raises:
        ValueError, TypeError: bad settings; ``unroll`` of as many steps as there are iterations, or with another rule
            than "fixed"; as many skips as there are no scales.
    """

    iterations: Count = 1750
    stop: StopName = "fixed"
    net: NetName = "small"
    widths: tuple[Count, ...] | None = field(default=None, repr=False)
    skips: tuple[Steps, ...] | None = field(default=None, repr=False)
    activation: Activation = field(default="swish", repr=False)
    lr: Positive = 0.01
    input_noise: NotNegative = field(default=0.01, repr=False)
    average: Annotated[float, Bounds("in [0, 1)", 0, 1 - 1e-9)] = field(default=0.99, repr=False)
    patience: Count | None = field(default=None, repr=False)
    unroll: Steps = field(default=0, repr=False)
    chunk: Count | None = field(default=None, repr=False)
    seed: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.shape  # noqa: B018  widths and skips that do not fit raise here
        if self.unroll >= self.iterations:
            raise ValueError(
                f"{self._owner} unroll: expected fewer than the {self.iterations} iterations, for no output sees the "
                f"last one's step; got {self.unroll}"
            )
        if self.unroll and self.stop != "fixed":
            raise ValueError(f"{self._owner} unroll: an image's last iterations are known with stop='fixed' only")

    @property
    def shape(self) -> Hourglass:
        """Of the net."""
        named = NETS[self.net]
        widths = named.widths if self.widths is None else self.widths
        skips = (named.skips + (0,) * len(widths))[: len(widths)] if self.skips is None else self.skips
        return replace(named, widths=widths, skips=skips, activation=self.activation)

    @property
    def rule(self) -> Rule:
        """When to stop."""
        return rule_named(self.stop, self.patience)
