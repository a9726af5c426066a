"""From what a user named to what is done: every check before any work, then the run, then the report."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, TQDMProgressBar
from torch import Tensor, nn

from blurnet.attacks.base import Attack
from blurnet.attacks.universal.rp2 import RP2
from blurnet.balls import Ball
from blurnet.checks import check_writable
from blurnet.evaluation.attacks import UNIVERSAL, Choice, blind_attacks, parse_attacks
from blurnet.evaluation.config import EvaluationConfig, parse_eot, parse_targets
from blurnet.evaluation.context import Context
from blurnet.evaluation.images import Pool
from blurnet.evaluation.jobs import Job, SharedNoise, check_jobs, image_jobs, universal_jobs
from blurnet.evaluation.model import LoadedModel, check_gradients
from blurnet.evaluation.noise import ReplayNoise
from blurnet.evaluation.proofs import certifying
from blurnet.evaluation.report.certified import CERTIFICATE
from blurnet.evaluation.report.make import CLEAN, VICTIMS, About, make_report
from blurnet.evaluation.report.report import Report
from blurnet.evaluation.run import Evaluation
from blurnet.evaluation.sanity.examine import examinations, examine
from blurnet.evaluation.threats import InBall, InMask, Threat
from blurnet.files import read_json, write_json
from blurnet.strict import plain
from blurnet.transforms.base import adaptive, identity_bpda, transforms_of


@dataclass(frozen=True, eq=False)
class Named:
    """A further model with its name in reports."""

    net: nn.Module
    name: str


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that an evaluation is made of, loaded.

    Args:
        config: its settings.
        model: what is evaluated.
        images: what is attacked image by image; None where nothing is.
        clean: what the clean accuracy is taken on; None where it is not.
        victims: what shares one noise, all in one shard; None where nothing does.
        masks: where attacks may write, by name, zeros and ones (1, 1, H, W).
        mask: which of them.
        source: another model, for transfer.
        held_out: images, labels and what reports call them, for the universal patch.
        replay: a saved noise.
        printable: colours (P, 3) for the non-printability score.
        own: attacks of the user's own, beside those that the settings name.
        data: what the output folder notes of the data.
    """

    config: EvaluationConfig
    model: LoadedModel
    images: Pool | None = None
    clean: Pool | None = None
    victims: Pool | None = None
    masks: dict[str, Tensor] = field(default_factory=dict)
    mask: str = "stickers"
    source: Named | None = None
    held_out: tuple[Tensor, Tensor, str] | None = None
    replay: ReplayNoise | None = None
    printable: Tensor | None = None
    own: Sequence[Attack] = field(default=())
    data: str | None = None

    @property
    def choices(self) -> list[Choice]:
        """The attacks that the settings name."""
        return parse_attacks(self.config.attacks) if self.config.attacks else []

    def chosen_mask(self) -> Tensor:
        """The mask by its name; ValueError lists what there is."""
        if self.mask not in self.masks:
            raise ValueError(f"--mask: unknown {self.mask!r}; these victims have: {', '.join(self.masks) or 'none'}")
        return self.masks[self.mask]


@dataclass(frozen=True, eq=False)
class Prepared:
    """An evaluation that has passed every check and can run."""

    evaluation: Evaluation
    plan: Plan
    seed: int


def prepare(plan: Plan, out: str | os.PathLike[str]) -> Prepared:
    """Make and check all jobs, then make the output folder ``out`` and note there what it is for.

    Raises:
        TypeError, ValueError: what does not fit together, or a folder that was begun with something else.
    """
    config, net = plan.config, plan.model.net
    attacked = adaptive(net) if transforms_of(net) and config.adaptive else None
    jobs = make_jobs(plan)
    check_jobs(jobs, net)  # before anything is written
    folder = check_writable(out)
    evaluation = Evaluation(net, jobs, folder, attacked=attacked, keep=config.keep_images, chunk=config.chunk)
    work = [*dict.fromkeys(evaluation.names)]
    added = [plain(spec) for spec in plan.model.added]
    _claim(folder, {"model": plan.model.sha256, "defenses": added, "data": plan.data, "work": work})
    return Prepared(evaluation, plan, config.seed)


def make_jobs(plan: Plan) -> list[Job]:
    """Everything that there is to do.

    Raises:
        TypeError, ValueError: settings that do not fit together.
    """
    names = [choice.name for choice in plan.choices]
    if not plan.config.adaptive:
        check_gradients(plan.model.net, names, blind_attacks())
    if plan.source is not None and names and not {UNIVERSAL, "autopatch", "transfer"} & set(names):
        raise ValueError("--transfer-from: only rp2, autopatch and transfer attack another model; add one of them")
    return [*_clean_jobs(plan), *_proofs(plan), *_shared_jobs(plan), *_image_jobs(plan)]


def carry_out(
    prepared: Prepared, command: str, *, device: str = "auto", progress: bool = True, workers: int = 0, **trainer: Any
) -> Report | None:
    """Do what is not done yet and report; None on the processes that do not write.

    Args:
        prepared: from :func:`prepare`.
        command: repeats the evaluation, for the report.
        device: "auto", "cpu", "gpu", "cuda" or "mps".
        progress: show a bar.
        workers: processes that read images ahead.
        trainer: further arguments of Lightning's ``Trainer``, such as strategy and devices.
    """
    evaluation, plan = prepared.evaluation, prepared.plan
    lightning = make_trainer(evaluation.folder, device=device, progress=progress, **trainer)
    loader = evaluation.loader(lightning.global_rank, lightning.world_size, workers)
    lightning.test(evaluation, dataloaders=loader, verbose=False)
    if not lightning.is_global_zero:
        return None
    examined = None
    if plan.config.sanity:
        source = None if plan.source is None else plan.source.net
        listed = examinations(evaluation.jobs, evaluation.net, evaluation.attacked, prepared.seed, source)
        examined = examine(listed, evaluation.folder, lightning.strategy.root_device)
    return make_report(evaluation, About(command, plan.model, plan.config, plan.mask), examined)


def make_trainer(out: Path, *, device: str = "auto", progress: bool = True, **options: Any) -> pl.Trainer:
    """The trainer whose ``test`` runs an evaluation: nothing logged or saved, samplers left alone.

    Raises:
        ValueError: a precision in which images themselves would be rounded.
    """
    precision = options.get("precision") or "32-true"
    if str(precision).endswith("-true") and str(precision) not in ("32-true", "64-true"):
        raise ValueError(f"precision {precision!r} rounds the images too; take {str(precision)[:-5]}-mixed or 32-true")
    bar: list[Callback] = [TQDMProgressBar()] if progress else []
    return pl.Trainer(
        **options,
        accelerator="gpu" if device == "cuda" else device,
        enable_progress_bar=progress,
        callbacks=bar,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=out,
    )


def _clean_jobs(plan: Plan) -> list[Job]:
    """The images that are only answered."""
    jobs = [] if plan.clean is None else [Job(CLEAN, None, plan.clean)]
    return jobs + ([] if plan.victims is None else [Job(VICTIMS, None, plan.victims)])


def _proofs(plan: Plan) -> list[Job]:
    """What is proven, of the images that are attacked one by one; of others where none are."""
    if not plan.config.certify:
        if not plan.config.attack_certified:
            raise ValueError("--no-attack-certified: nothing is certified; add --certify")
        return []
    net, pool = certifying(plan.model.net), plan.images or plan.clean or plan.victims
    if pool is None:
        raise ValueError("--certify: there are no images")
    net.threat(pool.size())  # a patch that does not fit them is said before any work
    return [Job(CERTIFICATE, None, pool, certify=True)]


def _shared_jobs(plan: Plan) -> list[Job]:
    """The attacks with one noise for all victims."""
    jobs: list[Job] = []
    choices = [choice for choice in plan.choices if choice.name == UNIVERSAL]
    if plan.victims is None:
        return jobs
    victims = plan.victims
    for choice in choices:
        threat = InMask(plan.mask, plan.chosen_mask())
        attack, targets = _rp2(plan, choice, threat.mask), parse_targets(plan.config.targets, victims)
        jobs += universal_jobs(choice.title, attack, victims, threat, targets)
        if plan.source is not None:
            other = plan.source.net, plan.source.name
            jobs += universal_jobs(choice.title, attack, victims, threat, targets, *other)
    if plan.replay is not None:
        replayed, threat = plan.replay, InMask(plan.mask, plan.replay.mask)
        jobs += universal_jobs("replay", replayed, victims, threat, replayed.targets, None, replayed.origin)
    return jobs


def _rp2(plan: Plan, choice: Choice, mask: Tensor) -> RP2:
    config = plan.config
    shared: dict[str, Any] = {"restarts": config.restarts, "seed": config.seed}
    settings = shared | dict(config.rp2) | choice.args
    return RP2(target=None, mask=mask, printable=plan.printable, transformations=parse_eot(config.eot), **settings)


def _image_jobs(plan: Plan) -> list[Job]:
    """The attacks image by image, those that draw curves among them."""
    choices = [choice for choice in plan.choices if choice.name != UNIVERSAL]
    if plan.images is None or not (choices or plan.own):
        if choices:
            raise ValueError("no images to attack one by one")
        return []
    config = plan.config
    context = make_context(plan)
    jobs = image_jobs(choices, plan.images, context, config.areas, config.step_counts) + _own_jobs(plan, context)
    return jobs if config.attack_certified else [job if job.universal else replace(job, spare=True) for job in jobs]


def make_context(plan: Plan) -> Context:
    """What the named attacks image by image share."""
    config, net = plan.config, plan.model.net
    mask = plan.chosen_mask() if config.area is None else None
    held_out = plan.held_out
    return Context(
        area=config.area,
        mask=mask,
        mask_name=plan.mask,
        budget=config.budget,
        steps=config.image_steps,
        eps=config.radius,
        restarts=config.restarts,
        seed=config.seed,
        source=None if plan.source is None else plan.source.net,
        source_name="" if plan.source is None else plan.source.name,
        held_out=None if held_out is None else held_out[:2],
        held_out_name="" if held_out is None else held_out[2],
        views=(identity_bpda(net),) if config.adaptive and transforms_of(net) else (),
    )


def _own_jobs(plan: Plan, context: Context) -> list[Job]:
    """The user's own attacks; what binds one is its ball where it has one, else the patch or mask of the evaluation."""
    jobs: list[Job] = []
    for attack in plan.own:
        name, ball = type(attack).__name__, getattr(attack, "ball", None)
        before = sum(job.name.partition(" ")[0] == name for job in jobs)
        title = f"{name} {before + 1}" if before else name
        threat: Threat = InBall(ball) if isinstance(ball, Ball) else context.patch
        if isinstance(attack, SharedNoise):
            if plan.victims is None:
                raise ValueError(f"{name}: one noise for all images needs them as victims")
            jobs += universal_jobs(title, attack, plan.victims, threat, [getattr(attack, "target", None)])
        elif plan.images is not None:
            jobs.append(Job(title, attack, plan.images, threat))
    return jobs


def _claim(out: Path, configuration: dict[str, Any]) -> None:
    """Note what this folder is for; refuse one that was begun with something else."""
    path = out / "work" / "configuration.json"
    if path.is_file():
        found = {"defenses": []} | read_json(path)  # folders of earlier versions had none to note
        differing = [key for key in configuration if found.get(key) != configuration[key]]
        if differing:
            # All work is of this very model behind these defenses: that it differs too says nothing new.
            differing = [key for key in differing if key in ("model", "defenses")] or differing
            what = {"work": "attacks, targets, victims or strength"}
            listed = ", ".join(what.get(key, key) for key in differing)
            raise ValueError(f"{out} holds an evaluation with other {listed}; give a new --out, or delete it")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, configuration)
