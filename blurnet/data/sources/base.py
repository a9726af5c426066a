"""What every source of images shares: a size, a fit, classes, and splits to load."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from blurnet.bounds import Count
from blurnet.data.images import Fit, Items, Split
from blurnet.strict import check_fields


@dataclass(eq=False)
class Source(ABC):
    """Labelled square images, and how they are read; a dataclass whose fields are its settings.

    Args:
        image_size: side in pixels.

    Raises:
        ValueError, TypeError: a setting out of range or of another type (names it).
    """

    image_size: Count = field(default=32, kw_only=True)
    fit: Fit = field(default="stretch", init=False, repr=False)  #: a setting only where photos are read

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Class names in output order."""

    @abstractmethod
    def load(self, split: Split) -> Items:
        """Read one split; its ``groups`` are tracks where the source knows them."""
