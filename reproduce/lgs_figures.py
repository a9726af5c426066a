"""The pictures of LGS's paper: gradient maps before and after windowing, and what the net says behind each defense.

    python -m reproduce.lgs_figures --data-root DIR --out FOLDER [--limit N] [--steps N] [--patch FILE]

Writes two pictures into ``--out``:

- gradients.png, as Figure 2: an attacked photo, its normalised gradient (Eq. 6), the same inside the windows whose mean
  exceeds the threshold (Eq. 8), and what LGS makes of the photo (Eq. 7).
- confidences.png, as Figures 1 and 4: the photo, the attacked photo, and the attacked photo behind each defense, each
  with the net's answer and its probability; green where it is correct.

The photos are attacked at their border (2 % of the area), undefended, as in Table 1; ``--patch`` takes a patch
that ``reproduce.lgs_table2`` trained (its patch.png) and shows the same photos with it.
"""

import argparse
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from blurnet.attacks.universal.patch import Patch
from blurnet.attacks.universal.poses import Poses
from blurnet.masks import Place
from blurnet.transforms.lgs.lgs import lgs
from reproduce._common.answers import correct, logits
from reproduce._common.lgs import COMPARED_ROWS, attack_arguments, border_attack
from reproduce._common.photos import Setup, load_setup, setup_parser

INCHES = 2.1  #: side of one photo

RIGHT, WRONG = "#1a7f37", "#b42318"


def gradient_map(images: Tensor, threshold: float) -> Tensor:
    """The normalised gradient inside the windows whose mean exceeds ``threshold``, (N, H, W) in [0, 1]; 0: all of it.

    LGS multiplies every channel by 1 - smoothing * map. A white channel, which changes the gradient of the mean by a
    factor that Eq. 6 takes out again, shows the map itself.
    """
    white = torch.ones_like(images[:, :1])
    return 1 - lgs(torch.cat([images, white], dim=1), smoothing=1.0, threshold=threshold)[:, -1]


def correct_photos(setup: Setup) -> tuple[Tensor, Tensor]:
    """The photos that the net answers correctly, and their labels."""
    images, labels = setup.everything()
    kept = correct(setup.net, images, labels)
    if not bool(kept.any()):
        raise ValueError(f"the net answers none of {len(labels)} photos correctly: raise --limit")
    return images[kept], labels[kept]


def attacks(setup: Setup, images: Tensor, labels: Tensor, arguments: argparse.Namespace) -> dict[str, Tensor]:
    """The attacked photos by the attack's name."""
    attack = border_attack(arguments, Place(0.02, "border", arguments.seed))
    found = {"attacked": attack(setup.net, images, labels)}
    if arguments.patch is not None:
        found["adversarial patch"] = Patch.load(arguments.patch).apply(images, Poses(rotation=0), seed=arguments.seed)
    return found


def gradients_figure(attacked: dict[str, Tensor]) -> Figure:
    """One row a photo and attack: the photo, the gradient before and after windowing, and LGS's result."""
    rows = [(name, image[None]) for name, images in attacked.items() for image in images]
    figure, axes = _grid(len(rows), 4)
    for line, (name, image) in zip(axes, rows, strict=True):
        shows = [image[0], gradient_map(image, 0.0)[0], gradient_map(image, 0.1)[0], lgs(image)[0]]
        titles = [name, "gradient, Eq. 6", "inside dense windows, Eq. 8", "LGS, Eq. 7"]
        for axis, picture, title in zip(line, shows, titles, strict=True):
            _show(axis, picture)
            axis.set_title(title, fontsize=8)
    return figure


def confidences_figure(setup: Setup, images: Tensor, labels: Tensor, attacked: dict[str, Tensor]) -> Figure:
    """One row a photo and attack: the photo, attacked, and attacked behind each defense, with the net's answers."""
    defenses = [row for row in COMPARED_ROWS if row.text]
    lines = [(name, i) for name in attacked for i in range(len(images))]
    figure, axes = _grid(len(lines), 2 + len(defenses))
    views = {row.name: setup.defended(row.text) for row in defenses}
    for line, (name, i) in zip(axes, lines, strict=True):
        adversarial = attacked[name][i : i + 1]
        shows = [("photo", images[i : i + 1], setup.net), (name, adversarial, setup.net)]
        shows += [(title, adversarial, net) for title, net in views.items()]
        for axis, (title, image, net) in zip(line, shows, strict=True):
            chance, found = logits(net, image)[0].softmax(dim=0).max(dim=0)
            with torch.no_grad():
                _show(axis, image[0] if net is setup.net else net[0](image)[0])
            axis.set_title(title, fontsize=8)
            said = f"{setup.classes[int(found)][:24]}, {float(chance):.0%}"
            axis.set_xlabel(said, fontsize=8, color=RIGHT if int(found) == int(labels[i]) else WRONG)
    return figure


def _grid(rows: int, columns: int) -> tuple[Figure, list[list[Axes]]]:
    figure = Figure(figsize=(INCHES * columns, (INCHES + 0.35) * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False).tolist()


def _show(axis: Axes, picture: Tensor) -> None:
    """A photo (3, H, W) or a map (H, W) in [0, 1]."""
    values = picture.detach().cpu().clamp(0, 1)
    if values.ndim == 3:
        axis.imshow(values.permute(1, 2, 0).numpy())
    else:
        axis.imshow(values.numpy(), cmap="gray", vmin=0, vmax=1)
    axis.set_xticks([])
    axis.set_yticks([])


def parse() -> argparse.Namespace:
    """The command line."""
    parser = setup_parser(__doc__, limit=4, out="runs/lgs_figures", json=False)
    attack_arguments(parser, 200)
    parser.add_argument("--patch", type=Path, help="a trained patch (.png or .safetensors) to show as well")
    return parser.parse_args()


def main() -> None:
    """Write the pictures and say where they are."""
    arguments = parse()
    setup = load_setup(arguments)
    images, labels = correct_photos(setup)
    attacked = attacks(setup, images, labels, arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    figures = {
        "gradients.png": gradients_figure(attacked),
        "confidences.png": confidences_figure(setup, images, labels, attacked),
    }
    for name, figure in figures.items():
        figure.savefig(arguments.out / name, dpi=110)
        print(f"written: {arguments.out / name}")


if __name__ == "__main__":
    main()
