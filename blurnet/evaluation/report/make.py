"""From a finished evaluation to its report."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from torch import Tensor, nn

from blurnet.evaluation.config import EvaluationConfig
from blurnet.evaluation.jobs import Job
from blurnet.evaluation.model import LoadedModel, adaptive_part, defenses_part
from blurnet.evaluation.report.certified import certified_part, contradictions, covered
from blurnet.evaluation.report.kept import AttackLine, RecordRow, Shown, Strip, VictimPictures
from blurnet.evaluation.report.parts import (
    Calls,
    DataPart,
    Distance,
    FlagPart,
    ImageAttack,
    ImagesOn,
    ImagesPart,
    ModelPart,
    SanityRow,
    ThreatRate,
    UniversalAttack,
    VictimsPart,
)
from blurnet.evaluation.report.report import Report
from blurnet.evaluation.run import Evaluation
from blurnet.evaluation.sanity.examine import Examined
from blurnet.evaluation.tables import (
    Result,
    bound_results,
    by_threat,
    certified,
    curves,
    location_map,
    main_results,
    over_targets,
    rate,
    robust,
    stage_counts,
    stage_name,
    wrong_before,
)
from blurnet.nets.vision import count_parameters
from blurnet.rates import Rate

LIBRARIES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics", "numpy", "scipy")

CLEAN = "clean"  #: name of the job that answers the clean test set
VICTIMS = "victims"  #: name of the job that answers the victims before any attack


@dataclass(frozen=True)
class About:
    """What the report says of an evaluation beside its numbers."""

    command: str
    model: LoadedModel
    config: EvaluationConfig
    mask: str = ""  #: name of the mask


def make_report(evaluation: Evaluation, about: About, examined: Sequence[Examined] | None) -> Report:
    """The report: no times, so that a rerun writes the same bytes.

    Args:
        evaluation: finished.
        about: names and settings.
        examined: what the sanity checks found; None: they were not run.
    """
    results = [Result(job, evaluation.records(number)) for number, job in enumerate(evaluation.jobs)]
    clean, victims = (next((r for r in results if r.job.name == name), None) for name in (CLEAN, VICTIMS))
    images = [r for r in results if r.job.attack is not None and not r.job.universal]
    shared = _by_attack([r for r in results if r.job.universal])
    attacks = [over_targets(group) for group in shared]
    proof = next((r for r in results if r.job.certify), None)
    single = images if proof is None else [proof, *images]
    model, net = about.model, evaluation.net
    return Report(
        blurnet=version("blurnet"),
        versions=versions(),
        command=about.command,
        settings=about.config.to_dict(),
        model=ModelPart(
            name=model.name,
            sha256=model.sha256,
            parameters=count_parameters(evaluation.net),
            spec=None if model.spec is None else model.spec.to_dict(),
            image_size=model.image_size,
            fit=model.fit,
        ),
        data=None if clean is None else _data(clean.job),
        victims=None if victims is None else _victims(victims.job, about.mask),
        clean=None if clean is None else rate(clean.records.correct_before, [clean]),
        victims_clean=None if victims is None else rate(victims.records.correct_before, [victims]),
        defenses=defenses_part(model),
        adaptive=adaptive_part(about.config.adaptive, model.net),
        per_image=_images_part(images, net, proof) if images else None,
        certified=None if proof is None else certified_part(net, proof, images),
        attacks=[attack for attack in attacks if attack.source is None],
        transfer=next((attack for attack in attacks if attack.source is not None), None),
        sanity=None
        if examined is None
        else [SanityRow(e.threat, e.images, [f.name for f in e.flags]) for e in examined],
        flags=[*([] if proof is None else contradictions(net, proof, images)), *_flags(examined or ())],
        records=tuple(row for result in [*single, *(r for group in shared for r in group)] for row in _rows(result)),
        record_attacks=tuple([_line(r.job) for r in single] + [_line(group[0].job) for group in shared]),
        gallery=_gallery(images),
        victim_pictures=_pictures(evaluation, shared[0], attacks[0], victims) if shared and victims else None,
    )


def versions() -> dict[str, str]:
    """Python and the libraries that numbers depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def _by_attack(results: Sequence[Result]) -> list[list[Result]]:
    """Results of shared noises, the targets of each together."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.job.title, []).append(result)
    return list(groups.values())


def _data(job: Job) -> DataPart:
    return DataPart(job.images.name, len(job.images), job.images.group_count)


def _victims(job: Job, mask: str) -> VictimsPart:
    return VictimsPart(job.images.name.removesuffix(" victims"), len(job.images), mask)


def _images_part(results: Sequence[Result], net: nn.Module, proof: Result | None) -> ImagesPart:
    main, pool = main_results(results), results[0].job.images
    wrong, size = wrong_before(main), pool.size()
    return ImagesPart(
        on=ImagesOn(pool.name, len(pool), len(pool.dataset), size, pool.group_count),
        clean=rate(~wrong, main),
        wrong_before=int(wrong.sum()),
        robust=rate(robust(bound_results(results)), main),
        by_threat=[
            ThreatRate(text, [result.job.name for result in group], rate(robust(group), group))
            for text, group in by_threat(results)
        ],
        attacks=[_attack(result) for result in main],
        curves=curves(results, lambda result: proof if proof and covered(net, result) else None),
        places=location_map(results, size),
        shard=pool.shard,
    )


def _attack(result: Result) -> ImageAttack:
    job, records = result.job, result.records
    correct = records.correct_before
    broken = correct & ~records.robust
    return ImageAttack(
        name=job.name,
        repr=repr(job.attack),
        seed=job.seed,
        threat="" if job.threat is None else job.threat.text,
        robust=rate(records.robust, [result]),
        success=_among(broken, correct, result),
        calls=Calls(
            median=int(records.calls[correct].median()) if bool(correct.any()) else 0,
            most=int(records.calls.max()),
            total=int(records.calls.sum()),
        ),
        distance=Distance(*(_mean(values[broken]) for values in (records.linf, records.l2, records.l0))),
        stages=stage_counts(result),
    )


def _among(flags: Tensor, chosen: Tensor, result: Result) -> Rate | None:
    """The rate of ``flags`` among the chosen images; None where there are none."""
    if not bool(chosen.any()):
        return None
    groups = result.job.images.groups
    kept = None if groups is None else [group for group, keep in zip(groups, chosen.tolist(), strict=True) if keep]
    return Rate.over(flags[chosen], kept)


def _mean(values: Tensor) -> float | None:
    return round(float(values.double().mean()), 6) if len(values) else None


def _flags(examined: Sequence[Examined]) -> list[FlagPart]:
    """The flags of all threats, each name once, with the first threat that raised it."""
    found: dict[str, FlagPart] = {}
    for one in examined:
        for flag in one.flags:
            found.setdefault(flag.name, FlagPart(flag.name, flag.cause, flag.cure, flag.evidence, one.threat))
    return list(found.values())


def _line(job: Job) -> AttackLine:
    if job.certify:
        return AttackLine(job.title, "certificate", None, "nothing: the certificate of each image")
    threat = "shared noise" if job.universal or job.threat is None else job.threat.text
    return AttackLine(job.title, repr(job.attack), job.seed, threat, job.point is not None)


def _rows(result: Result) -> list[RecordRow]:
    """One row for each image, numbers rounded as samples.jsonl holds them."""
    job, records, groups = result.job, result.records, result.job.images.groups
    columns = {name: getattr(records, name).tolist() for name in records._fields if name not in ("kept", "noise")}
    robust = (certified(result) if job.certify else records.robust).tolist()
    return [
        RecordRow(
            attack=job.title,
            target=job.target,
            index=columns["item"][i],
            group=None if groups is None else groups[i],
            label=columns["label"][i],
            clean_prediction=columns["clean_prediction"][i],
            prediction=columns["prediction"][i],
            confidence=round(columns["confidence"][i], 6),
            margin=round(columns["margin"][i], 6),
            robust=robust[i],
            stage=stage_name(result, i),
            calls=columns["calls"][i],
            box=None if min(columns["box"][i]) < 0 else columns["box"][i],
            linf=round(columns["linf"][i], 6),
            l2=round(columns["l2"][i], 6),
            l0=columns["l0"][i],
            dissimilarity=round(columns["dissimilarity"][i], 6),
        )
        for i in range(len(robust))
    ]


def _gallery(results: Sequence[Result]) -> list[Strip]:
    """Each kept image: the original, then what each main attack made of it.

    An image that was answered wrongly before any attack has no other pictures than its original.
    """
    main = main_results(results)
    count = min((len(result.records.kept) for result in main), default=0)
    if count == 0:
        return []
    pool = main[0].job.images
    images, labels = pool.read(range(count))
    shown: list[Strip] = []
    for i in range(count):
        first = main[0].records
        call = _call(pool.classes, first.clean_prediction[i], first.clean_confidence[i])
        correct = bool(first.clean_prediction[i] == labels[i])
        row = [Shown("original", images[i], call, "" if correct else "wrong before any attack", None)]
        if correct:
            row += [_attacked(result, i, pool.classes) for result in main]
        shown.append((f"{pool.classes[int(labels[i])]}, image {int(first.item[i])}", row))
    return shown


def _attacked(result: Result, i: int, classes: tuple[str, ...]) -> Shown:
    records = result.records
    fell = not bool(records.robust[i])
    calls = f"{int(records.calls[i]):,} calls"
    how = f"{stage_name(result, i)}, {calls}" if fell else f"stands after {calls}"
    call = _call(classes, records.prediction[i], records.confidence[i])
    return Shown(result.job.name, records.kept[i], call, how, fell)


def _call(classes: tuple[str, ...], prediction: Tensor, confidence: Tensor) -> str:
    return f"{classes[int(prediction)]} {100 * float(confidence):.0f}\u00a0%"


def _pictures(
    evaluation: Evaluation, results: Sequence[Result], attack: UniversalAttack, before: Result
) -> VictimPictures:
    """What the pictures of a shared noise are drawn from, at its worst target."""
    worst = next(result for result in results if result.job.target == attack.worst.target)
    clean, _ = worst.job.images.read(range(len(worst.job.images)))
    return VictimPictures(
        net=evaluation.net.cpu(),
        clean=clean,
        adversarial=worst.records.kept,
        before=before.records.clean_prediction,
        before_confidence=before.records.clean_confidence,
        after=worst.records.prediction,
        confidence=worst.records.confidence,
        classes=worst.job.images.classes,
        title=f"{attack.name}, worst target: {attack.worst.name}",
        attack=attack,
    )
