"""A whole report of the tiny net, made in a second: attacks image by image, and RP2 beside them."""

from pathlib import Path
from typing import Any

from blurnet.evaluation.gallery import Shown, kept_images
from blurnet.evaluation.per_image import Outcome, PerImage
from blurnet.evaluation.report import Subject, adaptive_part, build_report
from blurnet.evaluation.robustness import Robustness
from tests.evaluation.tiny_attacks import per_image
from tests.evaluation.tiny_subject import tiny_campaign, tiny_net, tiny_victims, trainer

NASTY = "<script>alert(\"x\")</script> & 'y' https://example.com"


def finished(folder: Path) -> tuple[PerImage, tuple[Outcome, ...], Robustness]:
    module = per_image(folder, keep=3)
    robustness = Robustness(tiny_net(), tiny_victims(), [tiny_campaign((0, 4))], folder)
    for part in (module, robustness):
        trainer(folder).test(part, dataloaders=part.job_loader(), verbose=False)
    return module, module.outcomes(), robustness


def tiny_report(folder: Path, **changes: Any) -> tuple[dict[str, Any], list[tuple[str, list[Shown]]]]:
    module, outcomes, robustness = finished(folder)
    subject = Subject(
        "python evaluate.py --x", "tiny", "0" * 64, None, None, "stickers", adaptive_part(True, ["LGS()"])
    )
    report = build_report(robustness.results(), robustness, subject, images=(module, outcomes))
    return report | changes, kept_images(module, outcomes)
