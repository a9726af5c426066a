"""What every certified defense is: a model that answers, and a proof of which answers no patch can turn."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from blurnet.checks import check_images, check_labels
from blurnet.settings import WithSettings

#: Images (N, 3, H, W) in [0, 1] to logits (N, classes).
Model = Callable[[Tensor], Tensor]


class Certificate(NamedTuple):
    """What is proven of N images; tensors on the images' device."""

    certified: Tensor  #: (N,) bool: answered correctly whatever a patch of the threat shows, wherever it lies
    logits: Tensor  #: (N, classes): the defended answer to the image as it is, as ``forward`` gives it
    agreement: Tensor  #: (N,) bool: all views of the first round gave one answer
    passes: Tensor  #: (N,) int64: how many views of the image the model was shown

    @property
    def prediction(self) -> Tensor:
        """The defended answer, (N,) int64."""
        return self.logits.argmax(1)


class CertifiedModel(WithSettings, nn.Module, ABC):
    """A model behind a certified defense: images to logits, and :meth:`certify`.

    A subclass implements :meth:`forward`, :meth:`threat`, :meth:`covers` and :meth:`proven`. A certificate speaks of
    a deterministic model: a module in training mode, or one that draws random numbers (``random`` is true of one of
    its modules, as of a random transformation), is refused at every call. Of a plain function nothing can be known:
    it must be deterministic and answer each image alone.

    Args:
        model: images in [0, 1] to logits; any module, its transformations and normalisation inside, or any callable.
    """

    #: Whether a certified image is always answered correctly. False: correctly, or with an alarm.
    recovers: ClassVar[bool] = True

    def __init__(self, model: Model) -> None:
        super().__init__()
        if not callable(model):
            raise TypeError(f"{type(self).__name__}: expected a model, images to logits, got {type(model).__name__}")
        self.model = model
        self.training = isinstance(model, nn.Module) and model.training

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W) in [0, 1]; the largest is the defended answer."""

    @abstractmethod
    def threat(self, image_size: tuple[int, int]) -> str:
        """What the certificate of images of (H, W) pixels holds against, in pixels and percent."""

    @abstractmethod
    def covers(self, image_size: tuple[int, int], patches: Tensor) -> bool:
        """Whether certificates of images of (H, W) pixels hold against each of some patches.

        patches: (P, R, 4) int64, each of R boxes that are changed at once, half-open (top, bottom, left, right).
        """

    @abstractmethod
    def proven(self, images: Tensor, labels: Tensor) -> Certificate:
        """:meth:`certify` on checked input."""

    def certify(self, images: Tensor, labels: Tensor) -> Certificate:
        """Prove, image by image, what no patch of :meth:`threat` can change.

        Args:
            images: (N, 3, H, W) in [0, 1], without a patch.
            labels: true classes (N,), integers.

        Raises:
            TypeError, ValueError: bad images or labels, a patch that does not fit them, or a model that is not
                deterministic.
        """
        check_images(images, channels=None)
        check_labels(labels, n=len(images))
        return self.proven(images, labels.to(images.device))

    def check_model(self) -> None:
        """Require a model that answers the same image in the same way.

        Raises:
            ValueError: a module in training mode, or one that draws random numbers; the message names it.
        """
        if not isinstance(self.model, nn.Module):
            return
        for name, module in self.model.named_modules():
            what = f"{type(module).__name__}{f' ({name})' if name else ''}"
            if module.training:
                raise ValueError(
                    f"{type(self).__name__}: {what} is in training mode, in which BatchNorm and dropout let an answer "
                    "depend on more than the image; call .eval() first, and train the net without the defense"
                )
            if getattr(module, "random", False) is True:
                raise ValueError(
                    f"{type(self).__name__}: {what} draws random numbers, and a certificate needs a deterministic "
                    "model; leave it out"
                )

    def extra_repr(self) -> str:
        """The settings, and a model that is no module."""
        plain: Any = self.model
        named = "" if isinstance(plain, nn.Module) else getattr(plain, "__qualname__", type(plain).__name__) + ", "
        return named + self.shown()
