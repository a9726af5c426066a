"""What a model is made of, as plain data: the net, its classes, its defenses and where they stand.

A spec names entries of the tables in :mod:`blurnet.zoo.build` and plain argument values; it cannot name an
import path or a file, so a spec from a downloaded folder is safe to build.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from blurnet.strict import check_fields, from_dict, parse_json

FORMAT = 1

#: What JSON holds: the value of an argument in a spec; lists and objects hold such values again.
Plain = bool | int | float | str | list[Any] | dict[str, Any] | None

#: How images of other sizes become a net's: both axes scaled, or the shorter side scaled and the middle kept.
Fit = Literal["stretch", "crop"]


@dataclass(frozen=True)
class DefenseSpec:
    """One defense and its place.

    Args:
        name: an entry of :data:`blurnet.zoo.build.DEFENSES`.
        after: name of the module it follows (as in ``named_modules()`` of the plain net): "relu1".
        before: name of the module it precedes. With neither, the defense stands in front of the net.
        args: keyword arguments of the defense.

    Raises:
        ValueError: both places are given, or a name is empty.
    """

    name: str
    after: str | None = None
    before: str | None = None
    args: dict[str, Plain] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.after is not None and self.before is not None:
            places = f"after={self.after!r} or before={self.before!r}"
            raise ValueError(f"defense {self.name!r}: give {places}, not both")
        if "" in (self.name, self.after, self.before):
            raise ValueError(f"defense {self.name!r}: empty name; leave after and before out for the input")
        _check_plain(self.args, f"defense {self.name!r}: args")


@dataclass(frozen=True)
class ModelSpec:
    """A net with its classes and defenses; :func:`blurnet.zoo.build.build` makes the module.

    Args:
        net: an entry of :data:`blurnet.zoo.build.NETS`, or "torchvision/NAME" or "timm/NAME".
        classes: class names in output order, all different. Empty: not known yet (training fills them in from
            its data with :meth:`with_classes`); an empty list cannot be built.
        defenses: applied in order; several at one place follow each other there.
        net_args: keyword arguments of the net.
        image_size: (H, W) in pixels of the images it was trained on. None: the net's own.
        fit: how images were brought to that size: "stretch" (signs) or "crop" (photos). None: as is usual for the
            net, "stretch" for those of this package and "crop" for others.
    """

    net: str = "lisa_cnn"
    classes: list[str] = field(default_factory=list)
    defenses: list[DefenseSpec] = field(default_factory=list)
    net_args: dict[str, Plain] = field(default_factory=dict)
    image_size: tuple[int, int] | None = None
    fit: Fit | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", list(self.classes))  # a tuple, as nets and data have them, will do
        object.__setattr__(self, "defenses", list(self.defenses))
        if repeated := sorted({name for name in self.classes if self.classes.count(name) > 1}):
            raise ValueError(f"classes: names must differ, these repeat: {repeated}")
        _check_plain(self.net_args, f"net {self.net!r}: net_args")
        check_fields(self, "spec")
        if self.image_size is not None and (len(self.image_size) != 2 or min(self.image_size) < 1):
            raise ValueError(f"spec image_size: expected (height, width) in pixels, got {self.image_size!r}")

    def with_classes(self, classes: list[str] | tuple[str, ...]) -> "ModelSpec":
        """The same spec for these class names (in output order); ValueError where it states others."""
        if self.classes and self.classes != list(classes):
            raise ValueError(f"the spec states the classes {self.classes}, the data has {list(classes)}")
        return dataclasses.replace(self, classes=list(classes))

    def with_images(self, image_size: tuple[int, int], fit: Fit) -> "ModelSpec":
        """The same spec for images of (H, W) pixels, brought to that size by ``fit``."""
        return dataclasses.replace(self, image_size=image_size, fit=fit)

    def to_dict(self) -> dict[str, Plain]:
        """Plain data: what spec.json holds."""
        return {"format": FORMAT, **dataclasses.asdict(self)}

    def to_json(self) -> str:
        """The text of spec.json."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_dict(cls, data: Any) -> "ModelSpec":
        """Inverse of :meth:`to_dict`. ValueError or TypeError on unknown or missing keys and wrong types."""
        return from_dict(cls, drop_format(data, "spec"), "spec")

    @classmethod
    def from_json(cls, text: str) -> "ModelSpec":
        """Inverse of :meth:`to_json`; as strict as :meth:`from_dict`."""
        return cls.from_dict(parse_json(text, "spec"))


def drop_format(data: Any, where: str) -> Any:
    """The mapping without its "format" entry, which must be the one this version writes."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else data
        raise ValueError(f'{where}: expected an object with "format": {FORMAT}, got {found!r}')
    return {key: value for key, value in data.items() if key != "format"}


def _check_plain(value: Any, where: str) -> None:
    """Only what JSON can hold: anything else would be lost on the way to a file."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{where}: keys are strings, got {key!r}")
            _check_plain(item, f"{where}: {key}")
    elif isinstance(value, list):
        for item in value:
            _check_plain(item, where)
    elif value is not None and not isinstance(value, bool | int | float | str):
        raise TypeError(f"{where}: expected a number, text, bool, null or a list of them, got {value!r}")
