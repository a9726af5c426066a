"""The spectra figures of BlurNet's slides, on the RP2 authors' net, victims and sticker noise.

    python -m reproduce.blurnet_spectra --root DIR [--out runs/spectra] [--json FILE]

Log-shifted spectra of the colour channels and of first-layer maps for clean, attacked and difference images, the
radial energy of the maps, and the claim behind the paper as numbers: the share of energy in the upper half of
frequencies, in the clean maps and in what the sticker adds to them, and what a 5x5 box behind the layer leaves.
"""

from typing import Any

import torch
from torch import Tensor, nn

from blurnet.data.sources.rp2 import published_noise, rp2_mask
from blurnet.data.sources.victims import load_victims
from blurnet.evaluation.render.figures import png_bytes
from blurnet.evaluation.render.pictures import energy_by_frequency, spectra_maps, spectra_rgb
from blurnet.evaluation.render.probe import first_layer
from blurnet.files import write_atomic
from blurnet.spectra import low_frequency_energy
from reproduce._common.arguments import add_out, command, root_parser, victims_folder
from reproduce._common.rp2 import authors_net, filtered
from reproduce._common.tables import markdown, write_rows

CUTOFF = 0.5  # of the highest frequency


def high_share(maps: Tensor) -> float:
    """Share of the maps' energy above the cutoff, in percent; loud maps count more."""
    maps = maps.double()
    energy = maps.square().sum((-2, -1))
    return 100 * float(((1 - low_frequency_energy(maps, CUTOFF)) * energy).sum() / energy.sum())


def row(name: str, net: nn.Module, clean: Tensor, attacked: Tensor) -> dict[str, Any]:
    """High-frequency shares of what the rest of the net sees."""
    calm, disturbed = (first_layer(net, x).seen for x in (clean, attacked))
    added = disturbed - calm
    loudness = 100 * float(added.norm() / calm.norm())
    return {
        "row": name,
        "measured": {"clean": high_share(calm), "difference": high_share(added), "loudness": loudness},
        "n": len(clean),
    }


def main() -> None:
    """Draw the figures, print the shares."""
    parser = root_parser(__doc__)
    add_out(parser, "runs/spectra", "folder for the pictures")
    arguments = parser.parse_args()
    root = victims_folder(arguments.root)
    clean = load_victims(f"rp2:{root}").images
    noise, mask = published_noise(root, "stickers"), rp2_mask(root, "stickers", threshold=0)
    attacked = (clean + mask * noise).clamp(0, 1)
    plain, blurred = authors_net(root), filtered(authors_net(root), "relu1", 5)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        figures = {
            "spectra_rgb": spectra_rgb(clean, attacked, "published stickers"),
            "spectra_maps": spectra_maps(plain, clean, attacked, "published stickers"),
            "spectra_maps_blurred": spectra_maps(blurred, clean, attacked, "published stickers, 5x5 box behind it"),
            "radial_energy": energy_by_frequency(blurred, clean, attacked, "5x5 box"),
        }
        rows = [row("first layer", plain, clean, attacked), row("first layer, 5x5 box", blurred, clean, attacked)]
    for name, figure in figures.items():
        write_atomic(arguments.out / f"{name}.png", png_bytes(figure))
        print(f"drawn: {arguments.out / name}.png")
    shown = [[r["row"], *(f"{r['measured'][k]:.1f} %" for k in ("clean", "difference", "loudness"))] for r in rows]
    header = ["what the rest of the net sees", "high-frequency energy, clean", "of the sticker's difference"]
    print("\n" + markdown([*header, "difference / clean (norm)"], shown))
    write_rows(arguments.json, rows, cutoff=CUTOFF, command=command("blurnet_spectra"))


if __name__ == "__main__":
    main()
