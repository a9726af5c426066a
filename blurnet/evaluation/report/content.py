"""A report as a value: everything that report.json holds, and what is shown beside it."""

import json
from dataclasses import dataclass, field
from typing import Literal

from blurnet.evaluation.report.kept import AttackLine, RecordRow, Strip, VictimPictures
from blurnet.evaluation.report.parts import (
    AdaptivePart,
    CertifiedPart,
    DataPart,
    DefensesPart,
    FlagPart,
    ImagesPart,
    ModelPart,
    SanityRow,
    UniversalAttack,
    VictimsPart,
)
from blurnet.rates import Rate
from blurnet.strict import JSON, NOT_STORED, plain


@dataclass(frozen=True, kw_only=True)
class Content:
    """What an evaluation found; :class:`blurnet.evaluation.report.report.Report` is this with ways to show and keep it.

    Args:
        blurnet: version. versions: of Python and the libraries that numbers depend on.
        command: repeats the evaluation. settings: every option of it but the output folder.
        model, data, victims: what was evaluated, on what; None where there was none.
        clean: accuracy on ``data``. victims_clean: on the victims before the attack.
        per_image: attacks on single images. attacks: those with one noise for all victims.
        transfer: such an attack made on another model.
        certified: what is proven of single images; None: nothing was to be.
        sanity: what the checks looked at; None: they were not run. flags: what they raised, each name once.
        records: one row for each attack and image. record_attacks: the attacks of these rows; empty: those of the
            report. gallery: images to show. victim_pictures: what the pictures of ``attacks[0]`` are drawn from.
            None of these four is part of the JSON, of equality or of the repr.
    """

    format: Literal[3] = 3
    blurnet: str
    versions: dict[str, str]
    command: str
    settings: dict[str, JSON] = field(default_factory=dict)
    model: ModelPart
    data: DataPart | None = None
    victims: VictimsPart | None = None
    clean: Rate | None = None
    victims_clean: Rate | None = None
    defenses: DefensesPart | None = None
    adaptive: AdaptivePart | None = None
    per_image: ImagesPart | None = None
    certified: CertifiedPart | None = None
    attacks: list[UniversalAttack] = field(default_factory=list)
    transfer: UniversalAttack | None = None
    sanity: list[SanityRow] | None = None
    flags: list[FlagPart] = field(default_factory=list)
    records: tuple[RecordRow, ...] = field(default=(), compare=False, repr=False, metadata=NOT_STORED)
    record_attacks: tuple[AttackLine, ...] = field(default=(), compare=False, repr=False, metadata=NOT_STORED)
    gallery: list[Strip] = field(default_factory=list, compare=False, repr=False, metadata=NOT_STORED)
    victim_pictures: VictimPictures | None = field(default=None, compare=False, repr=False, metadata=NOT_STORED)

    @property
    def robust(self) -> Rate | None:
        """Robust accuracy, the worst case of each image; None where no attack ran on single images."""
        return None if self.per_image is None else self.per_image.robust

    def to_json(self) -> str:
        """The text of report.json. ValueError for NaN and infinities."""
        return json.dumps(plain(self), indent=2, allow_nan=False) + "\n"
