"""What an attack of several stages reports for each image."""

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from blurnet.attacks.base import Model

STANDING = -1  #: in ``Record.stage``: no stage broke the image
WRONG = -2  #: in ``Record.stage``: the model was wrong before any attack


class Record(NamedTuple):
    """Which stage broke each of N images, at what cost, and where its patch lies."""

    adversarial: Tensor  #: (N, 3, H, W) in [0, 1]
    stage: Tensor  #: (N,) int64, index into ``stage_names``; -1 still standing, -2 wrong before any attack
    calls: Tensor  #: (N,) int64: how often the model saw the image under attack, forward and backward alike
    box: Tensor  #: (N, 4) int64: the patch, half-open (top, bottom, left, right) in pixels; -1 where there is none


@runtime_checkable
class Detailed(Protocol):
    """An attack that can say more than its images: call ``detailed`` for the record behind them."""

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The stages in the order they run; ``Record.stage`` points into it."""

    def detailed(self, model: Model, images: Tensor, labels: Tensor) -> Record:
        """Attack a batch as a call does, and report each image's stage, cost and place."""
