"""A whole report, made by hand: attacks on single images, and RP2 beside them."""

import torch
from torch import nn

from blurnet.evaluation.report.kept import RecordRow, Shown, VictimPictures
from blurnet.evaluation.report.parts import (
    AdaptivePart,
    Average,
    Calls,
    Curve,
    CurvePoint,
    DataPart,
    DefensesPart,
    Distance,
    FlagPart,
    ImageAttack,
    ImagesOn,
    ImagesPart,
    ModelPart,
    SanityRow,
    StageCount,
    TargetRow,
    ThreatRate,
    UniversalAttack,
    VictimsPart,
    WorstTarget,
)
from blurnet.evaluation.report.report import Report
from blurnet.rates import Rate
from blurnet.zoo.spec import DefenseSpec

CLASSES = ("a", "b", "c", "d", "e", "f")
IMAGES = torch.rand(7, 3, 12, 12, generator=torch.Generator().manual_seed(1))
NASTY = "<script>alert(\"x\")</script> & 'y' | https://example.com"
FLAG = FlagPart("zero-gradient", "a hard step", "use a surrogate", {"images": 7, "zero": 6.5}, "one patch")
GROUPED = Rate.over(torch.tensor([True, True, False, True, False, False]), "aabbcc")


def image_attack(name: str, threat: str, robust: int, stages: list[StageCount]) -> ImageAttack:
    distance = Distance(0.9, 7.5, 49.0) if robust < 5 else Distance(None, None, None)
    settings = f"{name}(seed=0)"
    return ImageAttack(
        name, settings, 0, threat, Rate.of(robust, 6), Rate.of(5 - robust, 5), Calls(1024, 2000, 9000), distance, stages
    )


def images_part() -> ImagesPart:
    stages = [StageCount("wrong before any attack", 1), StageCount("first", 2), StageCount("second", 1)]
    attacks = [
        image_attack("Blot", "one square patch", 2, [*stages, StageCount("still correct", 2)]),
        image_attack("Fade", "the whole image, linf at most 8/255", 5, [stages[0], StageCount("still correct", 5)]),
    ]
    points = [CurvePoint(area, Rate.of(count, 6)) for area, count in ((0.02, 5), (0.05, 2), (0.1, 0))]
    return ImagesPart(
        on=ImagesOn("six signs", 6, 40, (12, 12), 3),
        clean=Rate.of(5, 6),
        wrong_before=1,
        robust=GROUPED,
        by_threat=[ThreatRate(attack.threat, [attack.name], attack.robust) for attack in attacks],
        attacks=attacks,
        curves=[Curve("Blot", "area", points)],
        places=[[0.0, 0.0, 0.5], [0.0, 1.0, 0.5]],
        shard=4,
    )


def universal(name: str = "rp2", source: str | None = None, *counts: int, targeted: bool = True) -> UniversalAttack:
    counts = counts or (2, 5)
    rows = [
        TargetRow(t, CLASSES[t], Rate.of(c, 7), Rate.of(c // 2, 7) if targeted else None, 0.25)
        for t, c in enumerate(counts)
    ]
    n = 7 * len(counts)
    reached = Rate.pooled(sum(c // 2 for c in counts), n, 7) if targeted else None
    worst = max(rows, key=lambda row: row.asr.value)
    return UniversalAttack(
        name, "RP2(target=None)", 0, source, [row.target for row in rows], rows,
        Average(Rate.pooled(sum(counts), n, 7), reached, 0.25), WorstTarget(worst.target, worst.name, worst.asr),
    )  # fmt: skip


def record(index: int, attack: str = "Blot", **changes: object) -> RecordRow:
    row = RecordRow(attack, None, index, "a", 2, 2, 1, 0.5, -1 / 3, False, "first", 12, [1, 3, 2, 4], 0.5, 2.0, 12, 0.1)
    return row if not changes else RecordRow(**{**{f: getattr(row, f) for f in RecordRow.__slots__}, **changes})


def gallery() -> list[tuple[str, list[Shown]]]:
    original = Shown("original", IMAGES[0], "c 90 %", "", None)
    made = [
        Shown("Blot", IMAGES[1], "a 70 %", "first, 12 calls", True),
        Shown("Fade", IMAGES[2], "c 51 %", "unbroken", False),
    ]
    return [("c, image 0", [original, *made]), ("c, image 1", [original._replace(detail="wrong before any attack")])]


def victim_pictures() -> VictimPictures:
    attacked = IMAGES.clone()
    attacked[..., 3:8, 4:9] = (attacked[..., 3:8, 4:9] + 0.5).clamp(0, 1)
    before, after = torch.zeros(7, dtype=torch.long), torch.arange(7) % 3
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(200, len(CLASSES)))
    return VictimPictures(
        net.eval(), IMAGES, attacked, before, torch.full((7,), 0.25), after, torch.full((7,), 0.5), CLASSES, "rp2",
        universal("rp2", None, 1, 7, 3),
    )  # fmt: skip


def sample_report(**changes: object) -> Report:
    given = {
        "blurnet": "0.1.0",
        "versions": {"python": "3.11", "torch": "2.15"},
        "command": "python evaluate.py --x",
        "settings": {"attacks": ["rp2", "Blot"], "limit": 6, "area": 0.05, "mask": None},
        "model": ModelPart("tiny", "0" * 64, 1234, None, (12, 12), None),
        "data": DataPart("tiny (test)", 40, 8),
        "victims": VictimsPart("tiny", 7, "stickers"),
        "clean": Rate.of(39, 40),
        "victims_clean": Rate.of(7, 7),
        "defenses": DefensesPart([], [DefenseSpec("lgs")], "Defenses: lgs in front, added for this evaluation."),
        "adaptive": AdaptivePart(True, ["LGS()"], "Attacks saw surrogates."),
        "per_image": images_part(),
        "attacks": [universal()],
        "transfer": universal("rp2", "another", 1, 3),
        "sanity": [SanityRow("one patch", 5, [])],
        "flags": [],
        "records": (record(0), record(1, robust=True, stage=None, box=None)),
        "gallery": gallery(),
    }
    return Report(**{**given, **changes})
