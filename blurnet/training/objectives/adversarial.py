"""Objectives that train on adversarial images: FGSM mixture, PGD, logit pairing, fast training, TRADES."""

from abc import abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blurnet.bounds import Fraction, NotNegative, Positive, Steps
from blurnet.modes import resting
from blurnet.training.objectives.base import Objective, pairing
from blurnet.training.objectives.inner import AttackedView, Target, Value, ascend, target_classes, uniform_start


@dataclass(frozen=True, kw_only=True)
class Mixture(Objective):
    """``clean CE(x) + (1 - clean) CE(x') + pairing mean ||z(x) - z(x')||²``, x' the adversarial images of the batch.

    The accuracy is counted on the clean images where they are part of the loss, else on the adversarial ones.

    Args:
        clean: weight of the clean images, in [0, 1]; 1 (without pairing) is natural training and attacks nothing.
        pairing: weight of adversarial logit pairing; needs no clean weight.
    """

    clean: Fraction = 0.0
    pairing: NotNegative = 0.0

    @abstractmethod
    def adversarial(self, net: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Adversarial images (N, 3, H, W) in [0, 1], detached; arguments as of :meth:`Objective.loss`."""

    def loss(self, net: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """See :meth:`Objective.loss`."""
        if self.clean == 1 and not self.pairing:
            logits = net(images)
            return self.cross_entropy(logits, labels), logits
        attacked = self.adversarial(net, images, labels, generator)
        if not self.clean and not self.pairing:
            logits = net(attacked)
            return self.cross_entropy(logits, labels), logits
        logits, moved = net(torch.cat([images, attacked])).chunk(2)
        loss = self.clean * self.cross_entropy(logits, labels)
        loss = loss + (1 - self.clean) * self.cross_entropy(moved, labels)
        return (loss + self.pairing * pairing(logits, moved) if self.pairing else loss), logits


@dataclass(frozen=True, kw_only=True)
class FGSMTraining(Mixture):
    """``alpha L(x) + (1 - alpha) L(x + radius sign grad)``: a mixture with one step of the whole radius.

    Args:
        clean: alpha, 1/2 in the paper.
        radius: in pixel units.

    Source: Goodfellow et al. 2015, section 6.
    """

    clean: Fraction = 0.5
    radius: NotNegative = 8 / 255

    def adversarial(self, net: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """See :meth:`Mixture.adversarial`."""
        value = _away(labels)
        return ascend(net, value, images, images, radius=self.radius, steps=1, step_size=self.radius)


@dataclass(frozen=True, kw_only=True)
class PGDTraining(Mixture):
    """Adversarial training with projected gradient descent.

    As it stands, Madry et al. Xie et al. train with ``target="random"``, ``clean_start=0.2``, 30 steps of 1/255 in a
    radius of 16/255 and label smoothing 0.1. With ``clean=0.5`` and ``pairing=0.5`` it is adversarial logit pairing,
    with ``clean=0.5`` alone the mixed minibatch that pairing is compared with.

    Args:
        radius: of the L-infinity ball, in pixel units.
        steps: of the attack.
        step_size: in pixel units.
        target: pull towards a class: "random" (each wrong class alike), "least-likely" or "second"; None is
            untargeted.
        clean_start: chance that a batch starts at its clean images instead of uniform draws from the balls.

    Source: Madry et al. 2018; Xie et al. 2019 and their code; Kannan et al. 2018.
    """

    radius: NotNegative = 8 / 255
    steps: Steps = 7
    step_size: Positive = 2 / 255
    target: Target | None = None
    clean_start: Fraction = 0.0

    def adversarial(self, net: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """See :meth:`Mixture.adversarial`."""
        value = _away(labels)
        if self.target is not None:
            value = _towards(target_classes(self.target, net, images, labels, generator))
        start = uniform_start(images, self.radius, generator, self.clean_start)
        return ascend(net, value, images, start, radius=self.radius, steps=self.steps, step_size=self.step_size)


@dataclass(frozen=True, kw_only=True)
class FastTraining(Mixture):
    """Fast adversarial training: one step of more than the radius from a random start, projected.

    It can overfit to its own single step from one epoch to the next, after which a few steps of PGD break every
    image. The guard (:class:`~blurnet.training.callbacks.OverfittingGuard`) watches for that.

    Args:
        radius: of the L-infinity ball, in pixel units.
        step_size: in pixel units; None is 1.25 radius.
        guard: training stops where the accuracy under PGD drops by more than this share in an epoch; None lets it go.

    Source: Wong et al. 2020, Algorithm 3 and their code; unlike there, batch statistics rest during the attack.
    """

    radius: NotNegative = 8 / 255
    step_size: Positive | None = None
    guard: Fraction | None = 0.2

    def adversarial(self, net: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """See :meth:`Mixture.adversarial`."""
        start = uniform_start(images, self.radius, generator)
        size = 1.25 * self.radius if self.step_size is None else self.step_size
        return ascend(net, _away(labels), images, start, radius=self.radius, steps=1, step_size=size)


@dataclass(frozen=True, kw_only=True)
class TRADES(Objective):
    """``CE(x) + beta KL(p(x) || p(x'))``, x' the image in the ball at which the divergence is largest.

    The divergence is a sum over classes and a mean over images. The attack starts at the image with Gaussian noise of
    standard deviation 0.001. The accuracy is counted on the clean images.

    Args:
        beta: weight of the divergence; 0 is natural training and attacks nothing.
        radius: of the L-infinity ball, in pixel units.
        steps: of the attack.
        step_size: in pixel units.

    Source: Zhang et al. 2019, Algorithm 1 and their code.
    """

    beta: NotNegative = 6.0
    radius: NotNegative = 8 / 255
    steps: Steps = 10
    step_size: Positive = 2 / 255

    def loss(self, net: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """See :meth:`Objective.loss`."""
        if self.beta == 0:
            logits = net(images)
            return self.cross_entropy(logits, labels), logits
        logits, moved = net(torch.cat([images, self.adversarial(net, images, generator)])).chunk(2)
        return self.cross_entropy(logits, labels) + self.beta * divergence(logits, moved) / len(labels), logits

    def adversarial(self, net: nn.Module, images: Tensor, generator: torch.Generator) -> Tensor:
        """Images in the balls that diverge most from their clean answers, (N, 3, H, W), detached."""
        view = AttackedView(net)
        with resting(view):
            clean = view(images)
        noise = torch.empty_like(images).normal_(0, 0.001, generator=generator)
        start = torch.clamp(images + noise.clamp_(-self.radius, self.radius), 0, 1)

        def value(logits: Tensor) -> Tensor:
            return divergence(clean, logits)

        return ascend(net, value, images, start, radius=self.radius, steps=self.steps, step_size=self.step_size)


def divergence(logits: Tensor, others: Tensor) -> Tensor:
    """Sum over images of ``KL(p || q)``, p and q the softmax of logits and others (N, classes); in float32."""
    p, q = logits.float().log_softmax(dim=1), others.float().log_softmax(dim=1)
    return F.kl_div(q, p, reduction="sum", log_target=True)


def _away(labels: Tensor) -> Value:
    """The sum of cross entropies to labels (N,): a sum, so that no image's gradient depends on how many there are."""
    return lambda logits: F.cross_entropy(logits, labels, reduction="sum")


def _towards(targets: Tensor) -> Value:
    """Less the sum of cross entropies to targets (N,)."""
    return lambda logits: -F.cross_entropy(logits, targets, reduction="sum")
