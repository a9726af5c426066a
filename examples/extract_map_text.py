"""Take the text out of a map: a deep image prior draws terrain and roads first, and what it leaves out is text.

python examples/extract_map_text.py                                 a rendered map
python examples/extract_map_text.py --image FILE --iterations 100   a map of your own; try several numbers

Writes one picture with four panels: the map, what the prior has drawn, what it has not, and the text.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from blurnet.data.images import read_image
from blurnet.data.synthetic.maps import render_map
from blurnet.transforms.deep_image_prior.text import EARLY, text_mask, undrawn
from blurnet.transforms.deep_image_prior.tiles import tiled_prior


def main() -> None:
    """Render or read a map, run the prior, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, help="a map; none: one is rendered")
    parser.add_argument("--size", type=int, default=256, help="of the rendered map, in pixels (default: 256)")
    parser.add_argument("--seed", type=int, default=3, help="of the rendered map (default: 3)")
    parser.add_argument("--iterations", type=int, default=50, help="of the prior (default: 50)")
    parser.add_argument("--net", default="small", help="of the prior: small, tiny, snail or reference")
    parser.add_argument("--out", type=Path, default=Path("map_text.png"), help="the picture")
    arguments = parser.parse_args()

    rendered = None if arguments.image else render_map(arguments.size, arguments.seed)
    image = (read_image(arguments.image).float() / 255 if rendered is None else rendered.image)[None]
    what = arguments.image or f"a rendered map with {len(rendered.words)} words"
    print(f"{what}, {image.shape[-1]} x {image.shape[-2]} pixels: {arguments.iterations} iterations", flush=True)
    prior = replace(EARLY, net=arguments.net)
    drawn = tiled_prior(image, (arguments.iterations,), prior, progress=True)[0]
    residual = undrawn(image, drawn)
    text = text_mask(residual)
    if rendered is not None:
        right, ink, marked = (max(int(m.sum()), 1) for m in (text & rendered.text, rendered.text, text))
        print(f"marked: {right / ink:.1%} of the ink of its words; ink: {right / marked:.1%} of what is marked")
    draw(arguments.out, {"map": image, "deep image prior": drawn, "residual": residual, "text": text.float()})
    print(f"written: {arguments.out}")


def draw(file: Path, panels: dict[str, Tensor]) -> None:
    """Panels (1, C, H, W) side by side; those of the residual are stretched to the whole range."""
    figure = Figure(figsize=(4 * len(panels), 4.3), layout="constrained")
    for axis, (title, panel) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        values = panel[0].mean(0) / panel.mean(1).max().clamp(min=1e-6) if title in ("residual", "text") else panel[0]
        axis.imshow(values.movedim(0, -1) if values.ndim == 3 else values, cmap="gray", vmin=0, vmax=1)
        axis.set_title(title)
        axis.set_axis_off()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    main()
