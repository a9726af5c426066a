"""Where a net sees evidence for a class: class activation maps, for many classes in one pass."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from blurnet.checks import check_logits
from blurnet.modes import evaluating
from blurnet.transforms._blocks import prepare

_NAME_ONE = "name a layer that gives maps (N, C, h, w) with layer="


@dataclass(frozen=True)
class Evidence:
    """What one pass of a net left: its last feature maps, its logits, and how these follow from those."""

    maps: Tensor  #: (N, C, h, w), where the graph of the logits begins
    logits: Tensor  #: (N, classes)
    weight: Tensor | None  #: (classes, C) where the head is averaging and one linear layer

    def activation_maps(self, classes: Tensor) -> Tensor:
        """Evidence (N, K, h, w) for classes (N, K), 0 and up: CAM where there is a ``weight``, else Grad-CAM."""
        maps = self.maps.detach()
        if self.weight is not None:
            weights = self.weight.detach()[classes]
        else:
            # The graph holds the head alone, so that a product a class costs little beside the pass before it.
            with torch.enable_grad():
                totals = self.logits.gather(1, classes).sum(0).unbind()
            gradients = [torch.autograd.grad(total, self.maps, retain_graph=True)[0] for total in totals]
            weights = torch.stack([gradient.mean((-2, -1)) for gradient in gradients], 1)
        maps, weights = (values.to(torch.promote_types(values.dtype, torch.float32)) for values in (maps, weights))
        return torch.einsum("nkc,nchw->nkhw", weights, maps).relu()


def class_activation_maps(
    net: nn.Module, x: Tensor, classes: Tensor | Sequence[int], layer: str | None = None
) -> Tensor:
    """How much each place of an image speaks for a class, in [0, 1].

    One pass of the net for all classes. Where its head averages the last feature maps F and applies one linear layer W,
    the map of class c is ``relu(sum_k W[c, k] F_k)`` (CAM). Otherwise the gradient of the logit, averaged over the
    places, stands for W (Grad-CAM); it needs one product with the head's Jacobian a class, for the whole batch, and the
    layers before the last maps record nothing. Both agree where both apply.

    Args:
        net: images in [0, 1] to logits (N, C). It runs in evaluation mode and is left as it was, without a hook.
        x: images (N, C, H, W) in [0, 1].
        classes: K of them for all images, or (N, K) for each its own.
        layer: name of the module whose output (N, C, h, w) takes the place of the last feature maps. None: the maps
            that are pooled or flattened last.

    Returns:
        (N, K, H, W), bilinear, the values of each map stretched to [0, 1]; 0 for a map of one value. Without a graph.
        Works under ``no_grad`` and ``inference_mode``, and under autocast in full precision.

    Raises:
        ValueError: a class that the net does not have, or no feature maps. KeyError: no such layer (lists the layers).
        TypeError, ValueError: bad images, classes or logits.

    Source: Zhou et al. 2016 (CAM); Selvaraju et al. 2017 (Grad-CAM); the stretching is pytorch-grad-cam's.
    """
    with looking(net, prepare(x), layer) as evidence:
        maps = evidence.activation_maps(_chosen(classes, evidence.logits))
    uneven = _high(maps) > _low(maps)  # asked before interpolation, whose rounding is not to be stretched
    maps = F.interpolate(maps, x.shape[-2:], mode="bilinear")
    low, high = _low(maps), _high(maps)
    return torch.where(uneven, (maps - low) / torch.where(high > low, high - low, 1.0), 0.0)


@contextmanager
def looking(net: nn.Module, x: Tensor, layer: str | None = None) -> Iterator[Evidence]:
    """One pass of a net, in evaluation mode; what it left is used inside. Arguments and errors as above.

    Autocast is off: places where two values compete would depend on rounding.
    """
    net = getattr(net, "_orig_mod", net)  # a compiled net shows none of its steps
    autocast = torch.autocast(x.device.type, enabled=False)
    with evaluating(net), torch.inference_mode(False), torch.no_grad(), autocast:
        x = x.detach().clone() if x.is_inference() else x.detach()
        yield (_found if layer is None else _named(layer))(net, x)


def check_layer(net: nn.Module, layer: str | None) -> None:
    """Require that a net has this layer; KeyError, which lists those it has."""
    names = [name for name, _ in net.named_modules() if name]
    if layer is not None and layer not in names:
        raise KeyError(f"class activation maps: no layer {layer!r}; there are: {', '.join(names)}")


def _named(layer: str) -> Callable[[nn.Module, Tensor], Evidence]:
    """A pass with the graph beginning at the output of a layer."""

    def look(net: nn.Module, x: Tensor) -> Evidence:
        check_layer(net, layer)
        maps: list[Tensor] = []

        def begin(module: nn.Module, inputs: Any, output: Any) -> Tensor:
            if not isinstance(output, Tensor) or output.ndim != 4:
                got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
                raise ValueError(f"class activation maps: expected maps (N, C, h, w) from {layer!r}, got {got}")
            maps.append(output.detach().requires_grad_())
            torch.set_grad_enabled(True)  # until the caller's no_grad ends
            return maps[-1].clone()  # a following layer may work in place

        handle = net.get_submodule(layer).register_forward_hook(begin)
        try:
            logits = net(x)
        finally:
            handle.remove()
        if not maps or not logits.requires_grad:
            raise ValueError(f"class activation maps: the logits do not depend on the output of {layer!r}")
        check_logits(logits, n=len(x))
        return Evidence(maps[-1], logits, None)

    return look


def _found(net: nn.Module, x: Tensor) -> Evidence:
    """A pass with the graph beginning at the maps that were pooled or flattened last."""
    watch = _Watch()
    with watch:
        logits = net(x)
    check_logits(logits, n=len(x))
    if watch.maps is None or not logits.requires_grad:
        raise ValueError(f"class activation maps: {type(net).__name__} has no feature maps that it pools; {_NAME_ONE}")
    return Evidence(watch.maps, logits, watch.averaging(logits))


class _Watch(TorchFunctionMode):
    """Looks on as a net runs: nothing is recorded up to its last feature maps, everything behind them.

    Which maps are the last is known at the end only. So the graph begins anew wherever maps are pooled or flattened,
    and ends where maps come out again, as in squeeze-and-excitation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.maps: Tensor | None = None
        self._source: Tensor | None = None  # what the maps are a copy of
        self._linear: tuple[Tensor, Tensor, Tensor] | None = None
        self._convolved = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, first = kwargs or {}, args[0] if args else None
        if not self._convolved:
            self._convolved = getattr(func, "__name__", "").startswith("conv")
            return func(*args, **kwargs)
        if not isinstance(first, Tensor) or first.requires_grad or first.ndim != 4:
            with torch.enable_grad():
                output = func(*args, **kwargs)
            if func is F.linear and isinstance(first, Tensor):
                self._linear = (first, args[1], output)
            return output.detach() if isinstance(output, Tensor) and _spatial(output) else output
        output = func(*args, **kwargs)
        if (_spatial(first) or self.maps is None) and _pooled(output, len(first)):
            with torch.enable_grad():
                return func(self._begun(first, output), *args[1:], **kwargs)
        return output

    def _begun(self, maps: Tensor, pooled: Tensor) -> Tensor:
        """The same maps as the beginning of the graph; for the second that pools them the same beginning."""
        swapped = pooled.shape[1] == maps.shape[3] != maps.shape[1]  # (N, h, w, C), as of Swin transformers
        if self.maps is None or maps is not self._source:
            self._source = maps
            self.maps = (maps.movedim(3, 1) if swapped else maps).detach().requires_grad_()
        copy = self.maps.clone()  # a following layer may work in place
        return copy.movedim(1, 3) if swapped else copy

    def averaging(self, logits: Tensor) -> Tensor | None:
        """The weight of the linear layer that gave the logits, if what it took are the means of the maps."""
        if self._linear is None or self.maps is None:
            return None
        taken, weight, given = self._linear
        means = self.maps.detach().mean((-2, -1)).to(taken.dtype)
        same = given is logits and taken.shape == means.shape
        return weight if same and torch.allclose(taken.detach(), means, 1e-4, 1e-6) else None


def _low(maps: Tensor) -> Tensor:
    return maps.amin((-2, -1), keepdim=True)


def _high(maps: Tensor) -> Tensor:
    return maps.amax((-2, -1), keepdim=True)


def _spatial(x: Tensor) -> bool:
    return x.ndim == 4 and min(x.shape[-2:]) > 1


def _pooled(output: Any, n: int) -> bool:
    """Whether there are no places in it: (n, D), or (n, D, 1, 1)."""
    if not isinstance(output, Tensor) or not output.is_floating_point() or output.ndim < 2 or len(output) != n:
        return False
    return output.ndim == 2 or tuple(output.shape[2:]) == (1, 1)


def _chosen(classes: Tensor | Sequence[int], logits: Tensor) -> Tensor:
    """Classes (N, K) on the device of the logits."""
    chosen = torch.as_tensor(classes, device=logits.device)
    if chosen.is_floating_point() or chosen.ndim not in (1, 2) or not chosen.numel():
        raise TypeError(f"classes: expected integers (K,) or (N, K), got {chosen.dtype} {tuple(chosen.shape)}")
    n, count = logits.shape
    if chosen.ndim == 2 and len(chosen) != n:
        raise ValueError(f"classes: expected (K,) or ({n}, K), got {tuple(chosen.shape)}")
    if int(chosen.min()) < 0 or int(chosen.max()) >= count:
        raise ValueError(
            f"classes: expected values from 0 and below {count}, got {int(chosen.min())} to {int(chosen.max())}"
        )
    return chosen.expand(n, -1).long()
