"""What is evaluated: a model by its name, its folder, a library's name or the user's own file."""

import dataclasses
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from blurnet.certified.base import CertifiedModel
from blurnet.evaluation.identity import fingerprint
from blurnet.evaluation.report.parts import AdaptivePart, DefensesPart
from blurnet.files import fill, read_safetensors
from blurnet.nets.image_size import image_size
from blurnet.strict import check_arguments, parse_call
from blurnet.transforms.base import transforms_of
from blurnet.zoo.build import LIBRARIES, put_in_front
from blurnet.zoo.describe import describe_defenses
from blurnet.zoo.models import load_model
from blurnet.zoo.spec import DefenseSpec, ModelSpec


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model under evaluation.

    Args:
        net: images in [0, 1] to logits, the added transformations in front included.
        name: in reports.
        classes: names in output order; None where the model does not say: those of its data count.
        sha256: of its weights.
        image_size: (H, W) in pixels that it expects; None: any.
        fit: how images come to this size.
        spec: of a zoo model.
        added: what the evaluation put in front of it.
    """

    net: nn.Module
    name: str
    classes: tuple[str, ...] | None = None
    sha256: str = ""
    image_size: tuple[int, int] | None = None
    fit: str | None = None
    spec: ModelSpec | None = None
    added: list[DefenseSpec] = field(default_factory=list)

    def behind(self, added: Sequence[DefenseSpec]) -> "LoadedModel":
        """The model behind further defenses, in the order given.

        Raises:
            ValueError, TypeError: as :func:`~blurnet.zoo.build.put_in_front`.
        """
        if not added:
            return self
        net = put_in_front(self.net, added).eval()
        return dataclasses.replace(self, net=net, added=[*self.added, *added])


def read_model(text: str, weights: str | None = None) -> LoadedModel:
    """The model that a command line names.

    Args:
        text: a name of the zoo, a model's folder or "hf:user/repo"; "torchvision/NAME" or "timm/NAME", with arguments
            behind colons (timm/mobilenetv2_100:pad_type=same); or "path/to/file.py:function", the user's own code: a
            function without arguments that returns a module, whose ``classes`` and ``image_size`` count where it has
            them.
        weights: of a library's net: a .safetensors file, or a name of the library's such as "DEFAULT".

    Raises:
        ValueError: no such model (lists what exists), or weights missing, superfluous or not of this net.
    """
    path, colon, function = text.rpartition(":")
    if colon and path.endswith(".py"):
        loaded = _from_file(Path(path), function)
    elif text.partition("/")[0] in LIBRARIES:
        return _from_library(text, weights)
    else:
        loaded = of_module(load_model(text), Path(text).name)
    if weights is not None:
        raise ValueError(f"--weights: only torchvision/NAME and timm/NAME take weights, not {text!r}")
    return loaded


def of_module(net: nn.Module, name: str = "", classes: Sequence[str] | None = None) -> LoadedModel:
    """Any module, with what it says of itself (``classes``, ``card``, ``spec``, ``image_size``, ``fit``)."""
    card, spec = getattr(net, "card", None), getattr(net, "spec", None)
    said = getattr(net, "classes", None) if classes is None else classes
    return LoadedModel(
        net=net.eval(),
        name=getattr(card, "name", "") or name or type(net).__name__,
        classes=None if said is None else tuple(said),
        sha256=getattr(card, "sha256", "") or fingerprint(net),
        image_size=image_size(net),
        fit=getattr(net, "fit", None),
        spec=spec if isinstance(spec, ModelSpec) else None,
    )


class FunctionModel(nn.Module):
    """A plain function, images in [0, 1] to logits, as a module.

    Args:
        function: what is evaluated.
        images: a few; the answers to them tell one function from another when finished work is looked for.
    """

    def __init__(self, function: Any, images: Tensor) -> None:
        super().__init__()
        self.function = function
        with torch.no_grad():
            self.register_buffer("answers", function(images))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes)."""
        logits: Tensor = self.function(x)
        return logits

    def extra_repr(self) -> str:
        """Its name."""
        return str(getattr(self.function, "__qualname__", type(self.function).__name__))


def adaptive_part(used: bool, net: nn.Module) -> AdaptivePart:
    """Whether attacks saw the surrogate gradients of the model's transformations, for the report."""
    transforms = [repr(transform) for transform in transforms_of(net)]
    if isinstance(net, CertifiedModel):
        text = f"{type(net).__name__}({net.extra_repr()})"
        note = f"The model is {text}: attacks saw its exact logits, with the gradient of the views that decide."
        if transforms and not used:
            note += " NOT adaptive: of the transformations behind it they saw no surrogate."
    elif not transforms:
        note = "The model has no input transformation: its own gradient is exact."
    elif used:
        note = "Attacks saw each transformation's exact values with the gradient of its differentiable surrogate."
    else:
        note = "NOT adaptive: attacks saw the transformations' own gradients only, so robustness is overstated."
    return AdaptivePart(used, transforms, note)


def defenses_part(loaded: LoadedModel) -> DefensesPart:
    """What stands in front of or inside the evaluated model, as data and in a sentence."""
    own = [] if loaded.spec is None else list(loaded.spec.defenses)
    said = [f"{describe_defenses(loaded.added)}, added for this evaluation"] if loaded.added else []
    said += [f"{describe_defenses(own)}, of the model itself"] if own else []
    return DefensesPart(own, loaded.added, f"Defenses: {'; then '.join(said) or 'none'}.")


def check_gradients(net: nn.Module, attacks: Sequence[str], blind: Sequence[str]) -> None:
    """Where attacks see no surrogates: refuse transformations without a gradient to attacks that take one.

    Args:
        net: what is attacked, not adaptively.
        attacks: names of the chosen ones.
        blind: those that take no gradient of the model, for the message.

    Raises:
        ValueError: an attack would have no gradient; says which, and what would run.
    """
    without = sorted({type(t).__name__ for t in transforms_of(net) if not t.differentiable})
    if without and (taking := [name for name in attacks if name not in blind]):
        raise ValueError(
            f"--no-adaptive: {', '.join(without)} has no gradient of its own, which {', '.join(taking)} would need; "
            f"leave the option out, or attack with {', '.join(blind)}"
        )


def _from_library(text: str, weights: str | None) -> LoadedModel:
    library, _, rest = text.partition("/")
    name, args = parse_call(rest, "--model")
    if weights is None:
        raise ValueError(f"--model {text}: give its weights, --weights FILE.safetensors or --weights DEFAULT")
    constructor = LIBRARIES[library]
    args = check_arguments(constructor, args, f"--model {text}", given=("name", "classes", "weights"))
    if Path(weights).suffix:
        net = constructor(name, None, None, **args)
        _load_plain(net, weights)
    else:
        net = constructor(name, None, weights, **args)
    return LoadedModel(net.eval(), name, None, fingerprint(net), image_size(net), "crop")


def _load_plain(net: nn.Module, weights: str) -> None:
    """Weights of the library's own net, or of ours with the normalisation inside; the keys say which."""
    tensors = read_safetensors(weights)
    inner = net if any(key.startswith("net.") for key in tensors) else net.get_submodule("net")
    # A count of batches, which no answer depends on; converted weights often lack it.
    counts = {k: v for k, v in inner.state_dict().items() if k.endswith("num_batches_tracked")}
    fill(inner, counts | tensors, f"--weights: {weights} does not fit the net")


def _from_file(path: Path, function: str) -> LoadedModel:
    """What the user's own function returns; it is their code, named by themselves on the command line."""
    if not path.is_file():
        raise FileNotFoundError(f"--model: no such file: {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"--model: {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.absolute()))  # as if the file itself were run
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent.absolute()))
    if not hasattr(module, function):
        there = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise ValueError(f"--model: {path} has no {function!r}; it has {', '.join(there)}")
    net = getattr(module, function)()
    if not isinstance(net, nn.Module):
        raise TypeError(f"--model: {path}:{function} must return a torch.nn.Module, got {type(net).__name__}")
    return of_module(net, f"{path.stem}:{function}")
