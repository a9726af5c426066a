"""BlurNet's Table 1, the black-box evaluation, on the RP2 authors' own net, images and sticker noise.

    python -m reproduce.blurnet_table1 --root DIR [--json FILE]

The published noise was made on the undefended net; it is replayed on the same net behind a fixed low-pass filter.
Three readings, each found by what gives the published figures back: the kernel is a box with reflect padding, behind
conv1's ReLU; the noise goes wherever the mask image is not 0; and the success rate counts signs not called stop. The
slides define it as predictions altered by the attack, which is the same in every row but the last: there the filter
alone already loses five signs. Both counts are printed.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from blurnet.data.sources.rp2 import authors_weights, published_noise, rp2_mask
from blurnet.data.sources.victims import load_victims
from blurnet.layers.insert import insert_after
from blurnet.layers.lowpass import FixedLowPass
from blurnet.nets.lisa_cnn import LisaCNN
from blurnet.rates import Rate
from reproduce.tables import markdown, root_parser, victims_folder, with_interval, write_rows

#: Row, place of the filter, its size, published accuracy and attack success rate in percent.
PUBLISHED = (
    ("baseline", None, 0, 100.0, 90.0),
    ("input filter 3x3", "input", 3, 100.0, 87.5),
    ("input filter 5x5", "input", 5, 100.0, 67.5),
    ("L1 maps 3x3", "relu1", 3, 100.0, 65.0),
    ("L1 maps 5x5", "relu1", 5, 87.5, 17.5),
)


def defended(root: Path, place: str | None, size: int) -> nn.Module:
    """The authors' net, with a box filter on the input or behind a layer."""
    net: nn.Module = LisaCNN(18)
    net.load_state_dict(authors_weights(root))
    if place == "input":
        net = nn.Sequential(FixedLowPass(size), net)
    elif place is not None:
        net = insert_after(net, place, FixedLowPass(size))
    return net.eval()


def table(root: Path) -> list[dict[str, Any]]:
    """Every row of the table, rates in percent with n and interval."""
    victims = load_victims(f"rp2:{root}")
    noise = published_noise(root, "stickers")
    adversarial = (victims.images + rp2_mask(root, "stickers", threshold=0) * noise).clamp(0, 1)
    rows = []
    for name, place, size, accuracy, asr in PUBLISHED:
        net = defended(root, place, size)
        with torch.no_grad():
            clean, attacked = net(victims.images).argmax(1), net(adversarial).argmax(1)
        right = Rate.of(int((clean == victims.labels).sum()), len(clean))
        altered = Rate.of(int((clean != attacked).sum()), len(clean))
        wrong = Rate.of(int((attacked != victims.labels).sum()), len(clean))
        rows.append(
            {
                "row": name,
                "published": {"accuracy": accuracy, "asr": asr},
                "measured": {
                    "accuracy": right.as_dict()["value"],
                    "asr": wrong.as_dict()["value"],
                    "n": len(clean),
                    "accuracy_interval": [right.as_dict()["low"], right.as_dict()["high"]],
                    "asr_interval": [wrong.as_dict()["low"], wrong.as_dict()["high"]],
                    "altered": altered.as_dict()["value"],
                },
                "_shown": (with_interval(right), with_interval(wrong), with_interval(altered)),
            }
        )
    return rows


def main() -> None:
    """Print the table; write it where asked."""
    parser = root_parser(__doc__)
    arguments = parser.parse_args()
    rows = table(victims_folder(arguments.root))
    shown = [
        [r["row"], f"{r['published']['accuracy']:.1f}", f"{r['published']['asr']:.1f}", *r.pop("_shown")] for r in rows
    ]
    header = ["BlurNet Table 1 (black box)", "accuracy, published", "ASR, published"]
    print(markdown([*header, "accuracy, measured", "ASR, measured", "of these altered by the attack"], shown))
    write_rows(arguments.json, rows, command="python -m reproduce.blurnet_table1 --root DIR")


if __name__ == "__main__":
    main()
