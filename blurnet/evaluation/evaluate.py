"""``blurnet.evaluate``: robust accuracy of any model on any images, with what ``evaluate.py`` does and writes."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, SequentialSampler, default_collate

from blurnet.attacks.base import Attack
from blurnet.checks import check_images, check_labels, check_logits
from blurnet.data.images import ImageTensors
from blurnet.evaluation.attacks import UNIVERSAL
from blurnet.evaluation.config import EvaluationConfig
from blurnet.evaluation.images import Pool, Sized, read_items
from blurnet.evaluation.jobs import SharedNoise
from blurnet.evaluation.model import FunctionModel, LoadedModel, of_module
from blurnet.evaluation.plan import Named, Plan, carry_out, prepare
from blurnet.evaluation.report.certified import BROKEN
from blurnet.evaluation.report.report import Report
from blurnet.modes import attacking
from blurnet.nets.vision import device_of
from blurnet.quiet import quiet
from blurnet.strict import check_arguments

#: How reports call images that have no other name.
GIVEN = "those given"

Model = nn.Module | Callable[[Tensor], Tensor]


def evaluate(
    model: Model,
    images: Tensor | Sized | Iterable[Sequence[Tensor]],
    labels: Tensor | None = None,
    *,
    attacks: str | Attack | Sequence[str | Attack] = "autopatch",
    mask: Tensor | None = None,
    classes: Sequence[str] | None = None,
    groups: Sequence[object] | None = None,
    source: Model | None = None,
    held_out: tuple[Tensor, Tensor] | None = None,
    out: str | Path | None = None,
    name: str = "",
    device: str = "auto",
    progress: bool = True,
    **settings: Any,
) -> Report:
    """Attack a model on images and report how it holds: the worst case of each image, as ``evaluate.py`` does.

        report = blurnet.evaluate(net, images, labels, attacks="autopatch,pgd", out="runs/mine")
        print(report)
        report.robust, report.clean, report.records

    Args:
        model: images (N, 3, H, W) in [0, 1] to logits (N, classes): any module, or any callable. It is left as it is.
        images: (N, 3, H, W) float in [0, 1]; or a data set of (image, label), a ``Dataset`` read shard by shard; or a
            ``DataLoader`` (or any iterable) of batches (images, labels), gone through once.
        labels: true classes (N,), integers, with images; None otherwise.
        attacks: names with commas, as ``--attacks`` takes them; an attack of your own; or several of both.
        mask: zeros and ones (H, W) or (1, 1, H, W): the only pixels that attacks may write to, instead of a patch that
            is free to be placed; needed by "rp2".
        classes: names in output order; by default what the model says (``model.classes``), or numbers.
        groups: what each image belongs to, N labels such as tracks, for intervals that respect near duplicates; by
            default the data set's ``groups``.
        source: another model of the same classes, for transfer.
        held_out: images (M, 3, H, W) and labels (M,) that are not attacked, for "universal-patch".
        out: folder that takes report.html, report.json and the rest, and what is finished: an evaluation that was
            interrupted goes on there. None keeps nothing (``report.save(folder)`` does).
        name: how the report calls the model.
        device: "auto", "cpu", "gpu", "cuda" or "mps"; a plain function cannot be moved, and "auto" shows it images on
            the CPU.
        progress: show a bar.
        settings: fields of :class:`~blurnet.evaluation.config.EvaluationConfig`, such as ``budget="quick"``,
            ``patch=0.02``, ``limit=200``, ``curve_areas="0.01,0.1"``, ``sanity=False``.

    Returns:
        The report: ``.robust`` and ``.clean`` are rates, ``.records`` has a row for each attack and image, ``print``
        gives a table, ``.save(folder)`` writes what ``evaluate.py`` writes.

    Raises:
        TypeError, ValueError: bad images, labels, settings (the message lists what exists), or a model that does not
            return logits; before any attack.
        RuntimeError: an attack broke an image that is certified against it: a bug of ours (``certify=True``).
    """
    dataset, (config, own) = _dataset(images, labels), _config(attacks, mask, settings)
    command = f"blurnet.evaluate(model, images, labels, attacks={attacks!r}{_shown(settings)})"
    with ExitStack() as stack:
        for one in (model, source):
            if isinstance(one, nn.Module):
                stack.enter_context(attacking(one))  # modes and parameters are put back after
        stack.enter_context(quiet(log=True))
        loaded = _as_model(model, name, classes, dataset)
        if loaded.classes is None:
            loaded = replace(loaded, classes=tuple(map(str, range(_outputs(loaded.net, dataset)))))
        other = None if source is None else _as_model(source, "", None, dataset)
        plan = _plan(_Grouped(dataset, groups), config, loaded, own, mask, other, held_out)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="blurnet-")))
        place = device_of(loaded.net)
        prepared = prepare(plan, folder if out is None else out)
        where = "cpu" if device == "auto" and isinstance(loaded.net, FunctionModel) else device
        report = carry_out(prepared, command, device=where, progress=progress)
        loaded.net.to(place)
        if report is None:
            raise RuntimeError("blurnet.evaluate runs in one process; launch evaluate.py for several")
        if out is not None:
            report.save(out)
    for flag in report.flags:
        if flag.name == BROKEN:
            raise RuntimeError(f"{flag.cause} {flag.cure} Seen: {flag.evidence}, {flag.threat}.")
    return report


def _plan(
    dataset: Sized,
    config: EvaluationConfig,
    model: LoadedModel,
    own: list[Attack],
    mask: Tensor | None,
    source: LoadedModel | None,
    held_out: tuple[Tensor, Tensor] | None,
) -> Plan:
    """What was given, as what is to be done."""
    classes = model.classes or ()
    shared = any(isinstance(attack, SharedNoise) for attack in own) or UNIVERSAL in config.attacks
    return Plan(
        config=config,
        model=model,
        images=Pool(dataset, classes, GIVEN, config.limit, config.shard),
        clean=Pool(dataset, classes, GIVEN, shard=config.shard),
        victims=Pool(dataset, classes, f"{GIVEN} victims", shard=len(dataset)) if shared else None,
        masks={} if mask is None else {"given": mask.detach().cpu().float().view(1, 1, *mask.shape[-2:])},
        mask="given",
        source=None if source is None else Named(source.net, source.name),
        held_out=None if held_out is None else (*held_out, "held-out images"),
        own=own,
    )


def _config(
    attacks: str | Attack | Sequence[str | Attack], mask: Tensor | None, settings: dict[str, Any]
) -> tuple[EvaluationConfig, list[Attack]]:
    """The settings, and the attacks that are not named but given."""
    listed = [attacks] if isinstance(attacks, str | Attack) else list(attacks)
    own = [attack for attack in listed if isinstance(attack, Attack)]
    names = ",".join(attack for attack in listed if isinstance(attack, str))
    if mask is not None:
        settings = {"patch": "mask"} | settings
    if isinstance(settings.get("patch"), float):
        settings = settings | {"patch": repr(settings["patch"])}
    checked = check_arguments(EvaluationConfig, settings, "blurnet.evaluate", given=("attacks",))
    return EvaluationConfig(attacks=names, **checked), own


def _dataset(images: Any, labels: Tensor | None) -> Sized:
    """What was given, as something with a length and items (image, label)."""
    if isinstance(images, Tensor):
        check_images(images)
        if labels is None:
            raise ValueError("blurnet.evaluate: images (N, 3, H, W) need labels (N,)")
        check_labels(labels, n=len(images))
        return ImageTensors(images.cpu(), labels.cpu().long(), [str(i) for i in range(int(labels.max()) + 1)])
    if labels is not None:
        raise ValueError("blurnet.evaluate: labels go with a tensor of images; a data set brings its own")
    if isinstance(images, DataLoader):
        plain_order = isinstance(images.sampler, SequentialSampler) and images.collate_fn is default_collate
        if plain_order and hasattr(images.dataset, "__len__"):
            dataset: Sized = images.dataset
            return dataset
    elif hasattr(images, "__len__") and hasattr(images, "__getitem__"):
        listed: Sized = images
        return listed
    batches = [(batch[0].cpu(), batch[1].cpu()) for batch in images]
    if not batches:
        raise ValueError("blurnet.evaluate: the loader gives no batch")
    return _dataset(torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches]))


def _as_model(model: Model, name: str, classes: Sequence[str] | None, dataset: Sized) -> LoadedModel:
    """Any model as what is evaluated; a function is wrapped."""
    if isinstance(model, nn.Module):
        return of_module(model, name, classes)
    if not callable(model):
        raise TypeError(f"blurnet.evaluate: expected a model, images to logits, got {type(model).__name__}")
    few, _ = read_items(dataset, list(range(min(4, len(dataset)))))
    return of_module(FunctionModel(model, few), name or getattr(model, "__name__", ""), classes)


class _Grouped:
    """A data set with groups given beside it."""

    def __init__(self, dataset: Sized, groups: Sequence[object] | None) -> None:
        self.dataset = dataset
        self.groups = getattr(dataset, "groups", None) if groups is None else groups

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        return read_items(self.dataset, indices)


def _outputs(net: nn.Module, dataset: Sized) -> int:
    """How many classes the model knows, from its answer to the first image."""
    images, _ = read_items(dataset, [0])
    with torch.no_grad():
        logits = net(images.to(device_of(net)))
    check_logits(logits, n=1)
    return int(logits.shape[1])


def _shown(settings: dict[str, Any]) -> str:
    return "".join(f", {name}={value!r}" for name, value in settings.items())
