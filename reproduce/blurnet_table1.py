"""BlurNet's Table 1, the black-box evaluation, on the RP2 authors' own net, images and sticker noise.

    python -m reproduce.blurnet_table1 --root DIR [--json FILE]

The published noise was made on the undefended net; it is replayed on the same net behind a fixed low-pass filter.
Three readings, each found by what gives the published figures back: the kernel is a box with reflect padding, behind
conv1's ReLU; the noise goes wherever the mask image is not 0; and the success rate counts signs not called stop. The
slides define it as predictions altered by the attack, which is the same in every row but the last: there the filter
alone already loses five signs. Both counts are printed.
"""

from pathlib import Path
from typing import Any, NamedTuple

from blurnet.data.sources.rp2 import published_noise, rp2_mask
from blurnet.data.sources.victims import load_victims
from blurnet.rates import Rate
from reproduce._common.answers import answers
from reproduce._common.arguments import command, root_parser, victims_folder
from reproduce._common.rp2 import authors_net, filtered
from reproduce._common.tables import markdown, shown, write_rows

#: Row, place of the filter, its size, published accuracy and attack success rate in percent.
PUBLISHED = (
    ("baseline", None, 0, 100.0, 90.0),
    ("input filter 3x3", "input", 3, 100.0, 87.5),
    ("input filter 5x5", "input", 5, 100.0, 67.5),
    ("L1 maps 3x3", "relu1", 3, 100.0, 65.0),
    ("L1 maps 5x5", "relu1", 5, 87.5, 17.5),
)


class Row(NamedTuple):
    """A row of the table: what the net answers correctly, and what the noise does to its answers."""

    name: str
    published: dict[str, float]
    accuracy: Rate
    asr: Rate  #: signs not called stop
    altered: Rate  #: predictions altered by the attack

    def plain(self) -> dict[str, Any]:
        """What is written."""
        measured = {
            "accuracy": self.accuracy.value,
            "asr": self.asr.value,
            "n": self.asr.n,
            "accuracy_interval": [self.accuracy.low, self.accuracy.high],
            "asr_interval": [self.asr.low, self.asr.high],
            "altered": self.altered.value,
        }
        return {"row": self.name, "published": self.published, "measured": measured}


def table(root: Path) -> list[Row]:
    """Every row of the table."""
    victims = load_victims(f"rp2:{root}")
    noise = published_noise(root, "stickers")
    adversarial = (victims.images + rp2_mask(root, "stickers", threshold=0) * noise).clamp(0, 1)
    rows = []
    for name, place, size, accuracy, asr in PUBLISHED:
        net = filtered(authors_net(root), place, size)
        clean, attacked = answers(net, victims.images), answers(net, adversarial)
        flags = clean == victims.labels, attacked != victims.labels, clean != attacked
        rows.append(Row(name, {"accuracy": accuracy, "asr": asr}, *map(Rate.over, flags)))
    return rows


def main() -> None:
    """Print the table; write it where asked."""
    arguments = root_parser(__doc__).parse_args()
    rows = table(victims_folder(arguments.root))
    lines = []
    for row in rows:
        given = [f"{row.published[key]:.1f}" for key in ("accuracy", "asr")]
        lines.append([row.name, *given, *(shown(rate, n=True) for rate in (row.accuracy, row.asr, row.altered))])
    header = ["BlurNet Table 1 (black box)", "accuracy, published", "ASR, published"]
    print(markdown([*header, "accuracy, measured", "ASR, measured", "of these altered by the attack"], lines))
    write_rows(arguments.json, [row.plain() for row in rows], command=command("blurnet_table1"))


if __name__ == "__main__":
    main()
