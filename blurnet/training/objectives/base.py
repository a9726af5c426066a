"""What a training step minimises, as a value; and the objectives that need no attack."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blurnet.bounds import Fraction, NotNegative
from blurnet.strict import check_fields

ACCURACY = "val/accuracy"  #: what is logged of every validation: the share of clean images that is answered correctly


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """The loss of one batch, without the penalties of layers, which are added to it.

    Objectives are frozen values; the net is an argument. Clean and adversarial images of one loss pass the net in one
    forward, so that batch statistics and the penalties of feature maps are those of both.

    Args:
        label_smoothing: share of the target mass spread over all classes, in every cross entropy that is trained;
            attacks climb the plain one.

    Raises:
        ValueError, TypeError: a setting out of range or of another type (names it).
    """

    log_name: ClassVar[str] = "objective"  #: what the loss is called in the logs
    label_smoothing: Fraction = 0.0

    def __post_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def loss(self, net: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The loss of a batch, and the logits that its accuracy is counted from.

        Args:
            net: in training mode, pixels in, logits out. Its modes and gradients are left as they are.
            images: (N, 3, H, W) in [0, 1].
            labels: true classes (N,).
            generator: of all that is drawn, on the images' device.

        Returns:
            A scalar that depends on the net's parameters, and logits (N, classes).
        """

    @property
    def parts(self) -> "tuple[Objective, ...]":
        """The objective and those inside it."""
        return (self,)

    @property
    def measures(self) -> tuple[str, ...]:
        """What :meth:`validate` tells of each image, by name."""
        return ()

    @property
    def monitor(self) -> str:
        """What a run keeps its best epoch by, as it is logged; higher is better."""
        return ACCURACY

    def check(self, net: nn.Module, *, trained: bool) -> None:  # noqa: B027  most objectives take any net
        """Require a net that this objective can train; ValueError says what stands against it.

        Args:
            net: as it starts.
            trained: whether it starts from trained weights, not from random ones.
        """

    def begin(self, net: nn.Module) -> "Objective":
        """The objective of one run, called with the net as it starts, before a checkpoint is restored."""
        return self

    def validate(self, net: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """What holds of each image of a validation batch, (N,) bool, for each name of ``measures``.

        It is logged as the share of the split, "val/NAME", of all processes together.

        Args:
            net: in evaluation mode, pixels in, logits out.
            images: (N, 3, H, W) in [0, 1], clean.
            labels: true classes (N,).
        """
        return {}

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross entropy of logits (N, classes) to labels (N,), labels smoothed."""
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)


@dataclass(frozen=True, kw_only=True)
class Natural(Objective):
    """Cross entropy of the clean images."""

    log_name: ClassVar[str] = "cross_entropy"

    def loss(self, net: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """See :meth:`Objective.loss`."""
        logits = net(images)
        return self.cross_entropy(logits, labels), logits


@dataclass(frozen=True, kw_only=True)
class CleanLogitPairing(Objective):
    """``CE(x) + weight mean ||z(x_i) - z(x_j)||²`` over pairs of unlike clean images; no attack.

    The batch comes shuffled: its first half is paired with its second, an odd last image with none. The paper adds
    Gaussian noise to the images, which here is the data's ``noise``.

    Args:
        weight: lambda; 0 is natural training.

    Source: Kannan et al. 2018, section 3.2.
    """

    weight: NotNegative = 0.1

    def loss(self, net: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """See :meth:`Objective.loss`."""
        logits = net(images)
        loss, half = self.cross_entropy(logits, labels), len(labels) // 2
        if self.weight and half:
            loss = loss + self.weight * pairing(logits[:half], logits[half : 2 * half])
        return loss, logits


def pairing(logits: Tensor, others: Tensor) -> Tensor:
    """Mean over pairs of the squared distance of logits (N, classes), summed over classes; in float32."""
    return (logits.float() - others.float()).square().sum(dim=1).mean()
