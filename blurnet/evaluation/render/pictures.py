"""The pictures of one noise for all victims: gallery, success by target, spectra of pixels and maps, energy."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from blurnet.evaluation.render.figures import (
    ADDED,
    ATTACKED,
    CLEAN,
    MUTED,
    SMALL,
    TEXT,
    grid,
    new_figure,
    plain,
    png_bytes,
    show_image,
    spectra_table,
)
from blurnet.evaluation.render.probe import first_layer
from blurnet.evaluation.report.kept import VictimPictures
from blurnet.evaluation.report.parts import UniversalAttack
from blurnet.spectra import log_spectrum, radial_energy
from blurnet.transforms.base import reset_transforms

#: Spectra are means over at most so many victims.
MOST = 64
BANDS = 12


def victim_pictures(given: VictimPictures) -> dict[str, bytes]:
    """The five pictures as PNG files by name; given the same they are the same bytes."""
    net = given.net.cpu()
    reset_transforms(net)
    pair = (given.clean[:MOST], given.adversarial[:MOST])
    figures = {
        "gallery": gallery(given),
        "success_by_target": success_by_target(given.attack),
        "spectra_rgb": spectra_rgb(*pair, given.title),
        "spectra_maps": spectra_maps(net, *pair, given.title),
        "radial_energy": energy_by_frequency(net, *pair, given.title),
    }
    return {name: png_bytes(figure) for name, figure in figures.items()}


def gallery(given: VictimPictures) -> Figure:
    """Original, noise and result of up to six victims, with predictions; changed ones in colour."""
    clean, classes = given.clean, given.classes
    chosen = torch.linspace(0, len(clean) - 1, min(6, len(clean))).round().long().tolist()
    figure = new_figure(1.75 * max(len(chosen), 3) + 0.6, 6.2, f"Victims of {given.title}")
    axes = grid(figure, 3, len(chosen))
    for column, i in enumerate(chosen):
        noise = (given.adversarial[i] - clean[i]) / 2 + 0.5
        changed = int(given.after[i]) != int(given.before[i])
        show_image(axes[0, column], clean[i], _call(classes, given.before[i], given.before_confidence[i]), CLEAN)
        show_image(axes[1, column], noise)
        call = _call(classes, given.after[i], given.confidence[i])
        show_image(axes[2, column], given.adversarial[i], call, ATTACKED if changed else CLEAN)
    for row, name in enumerate(("original", "noise (gray: none)", "result")):
        axes[row, 0].set_ylabel(name, fontsize=TEXT)
    return figure


def success_by_target(attack: UniversalAttack) -> Figure:
    """Attack success of each target with its interval, sorted, and targeted success as a mark."""
    rows = sorted(attack.per_target, key=lambda row: row.asr.value)
    figure = new_figure(8, 1.7 + 0.3 * len(rows), f"{attack.name}: success by target")
    ax = figure.subplots()
    places, rates = list(range(len(rows))), [row.asr for row in rows]
    errors = [[rate.value - rate.low for rate in rates], [rate.high - rate.value for rate in rates]]
    ax.barh(
        places, [rate.value for rate in rates], xerr=errors, color=ATTACKED, alpha=0.85,
        error_kw={"ecolor": MUTED, "elinewidth": 1, "capsize": 2}, label="label changed, 95 % interval",
    )  # fmt: skip
    goals = [(place, row.targeted.value) for place, row in zip(places, rows, strict=True) if row.targeted is not None]
    if goals:
        ax.plot(
            [value for _, value in goals], [place for place, _ in goals], "D", color="black", markersize=4,
            clip_on=False, label="target reached",
        )  # fmt: skip
    mean = attack.average.asr
    ax.axvline(mean.value, color=CLEAN, linestyle="--", linewidth=1.2, label=f"average {mean.percent}")
    ax.set_yticks(places, [row.name for row in rows])
    ax.set_xlim(0, 105)
    plain(ax, f"victims, % of n = {rows[0].asr.n}", "")
    figure.legend(loc="outside lower center", ncols=3, fontsize=SMALL, frameon=False)
    return figure


def spectra_rgb(clean: Tensor, attacked: Tensor, title: str) -> Figure:
    """Log-shifted spectra of the colour channels: clean, attacked and their difference, mean over victims."""
    figure = new_figure(8.6, 7.4, f"Spectra of the colour channels ({title})")
    columns = [(name, log_spectrum(x).mean(0)) for name, x in _views(clean, attacked)]
    spectra_table(figure, columns, ("red", "green", "blue"), 2, "log(1 + |FFT|)")
    return figure


def spectra_maps(net: nn.Module, clean: Tensor, attacked: Tensor, title: str, rows: int = 5) -> Figure:
    """The same for the first-layer maps that the rest of the net sees, the most disturbed ones."""
    layer = first_layer(net, clean)
    views = _views(layer.seen, first_layer(net, attacked).seen)
    disturbed = views[2][1].square().mean((0, 2, 3))
    chosen = disturbed.argsort(descending=True)[:rows]
    figure = new_figure(8.6, 1.0 + 2.1 * len(chosen), f"Spectra of the first layer's maps ({title})")
    columns = [(name, log_spectrum(x[:, chosen]).mean(0)) for name, x in views]
    spectra_table(figure, columns, [f"map {int(i)}" for i in chosen], 2, "log(1 + |FFT|)")
    return figure


def energy_by_frequency(net: nn.Module, clean: Tensor, attacked: Tensor, title: str) -> Figure:
    """Share of the first-layer maps' energy in bands of frequency, before and after the defense."""
    layers = first_layer(net, clean), first_layer(net, attacked)
    figure = new_figure(10, 4.6, f"Energy of the first layer's maps by frequency ({title})")
    left, right = figure.subplots(1, 2, sharey=True)
    stages = [("before the defense", [layer.before for layer in layers], "--")]
    if layers[0].after is not None:
        stages.append(("after the defense", [layer.seen for layer in layers], "-"))
    else:
        stages = [("", stages[0][1], "-")]
    for stage, (calm, disturbed), line in stages:
        _curve(left, calm, f"clean {stage}".strip(), CLEAN, line)
        _curve(left, disturbed, f"attacked {stage}".strip(), ATTACKED, line)
        _curve(right, disturbed - calm, stage or "difference", ADDED, line)
    left.set_title("maps", fontsize=TEXT)
    right.set_title("what the attack adds (attacked - clean)", fontsize=TEXT)
    for ax in (left, right):
        plain(ax, "normalised frequency (1: corner of the spectrum)", "share of energy" if ax is left else "")
        ax.set_yscale("log")
        ax.legend(fontsize=SMALL, frameon=False)
    return figure


def _views(clean: Tensor, attacked: Tensor) -> list[tuple[str, Tensor]]:
    return [("clean", clean), ("attacked", attacked), ("difference", attacked - clean)]


def _curve(ax: Axes, maps: Tensor, label: str, color: str, line: str) -> None:
    """Energy shares over all maps and images together: loud maps count more, dead ones not at all."""
    energy = maps.double().square().sum((-2, -1), keepdim=False)[..., None]
    share = (radial_energy(maps.double(), BANDS) * energy).sum((0, 1)) / energy.sum().clamp(min=1e-30)
    centres = (torch.arange(BANDS) + 0.5) / BANDS
    ax.plot(centres.tolist(), share.tolist(), line, marker="o", markersize=3, color=color, label=label)


def _call(classes: tuple[str, ...], prediction: Tensor, confidence: Tensor) -> str:
    return f"{classes[int(prediction)]}\n{100 * float(confidence):.0f} %"
