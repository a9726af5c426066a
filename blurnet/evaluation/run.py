"""The evaluation itself, for ``Trainer.test``: whole parts on any process, records that add up exactly."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from blurnet.attacks.base import STANDING, WRONG, Attack, Record
from blurnet.attacks.engine.asking import Counted
from blurnet.attacks.engine.losses import margin
from blurnet.certified.base import CertifiedModel
from blurnet.checks import check_logits
from blurnet.data.loader import UnpaddedDistributedSampler
from blurnet.evaluation.identity import fingerprint, identity, modules_of
from blurnet.evaluation.jobs import Job, Part, SharedNoise, check_jobs, parts_of
from blurnet.evaluation.proofs import settled
from blurnet.evaluation.records import LATE, Records, Store, content, dissimilarity, joined
from blurnet.evaluation.threats import Threat, changed_box
from blurnet.modes import attacking
from blurnet.transforms.base import reset_transforms, transforms_of

Batch = tuple[int, Tensor, Tensor]


class Evaluation(pl.LightningModule):
    """Clean accuracy of a net and its robustness, image by image and against a noise shared by all.

    A process takes whole parts: a shard of images under one attack, or all victims under some targets of a shared
    noise. So any number of processes gives the same bytes, with nothing to synchronise. Finished parts are kept under
    ``folder`` and not repeated; processes must all see that folder. Only one shard of images is in memory at a time.
    Use with ``Trainer(use_distributed_sampler=False)``: the stock sampler repeats items to even out the processes.

        trainer.test(evaluation, dataloaders=evaluation.loader(rank, world))

    Args:
        net: images in [0, 1] to logits, with one output for each of the classes.
        jobs: what to do.
        folder: output folder, existing.
        attacked: what white-box attacks see in place of the net: its values with a surrogate's gradient; None: the
            net itself.
        keep: adversarial images of the first so many are kept, for galleries.
        chunk: targets of a shared noise side by side in one batch.

    Raises:
        TypeError, ValueError: jobs that do not fit the net or their images, see
            :func:`~blurnet.evaluation.jobs.check_jobs`.
    """

    def __init__(
        self,
        net: nn.Module,
        jobs: Sequence[Job],
        folder: Path,
        *,
        attacked: nn.Module | None = None,
        keep: int = 12,
        chunk: int = 4,
    ) -> None:
        super().__init__()
        if keep < 0 or chunk < 1:
            raise ValueError(f"expected keep from 0 images and chunk from 1 target, got {keep} and {chunk}")
        self.net, self.attacked = net.eval(), (net if attacked is None else attacked).eval()
        self.jobs, self.keep = tuple(jobs), keep
        self.folder, self.store = Path(folder), Store(Path(folder))
        reset_transforms(net)
        self.classes = check_jobs(self.jobs, net)
        self.parts = parts_of(self.jobs, chunk)
        self.names = self._names(chunk)
        # More processes than parts leave some without work.
        self.allow_zero_length_dataloader_with_multiple_devices = True

    def loader(self, rank: int = 0, world: int = 1, workers: int = 0) -> DataLoader[Batch]:
        """The parts that fall to one of ``world`` processes, each with its images; ``workers`` read ahead."""
        parts = _Parts(self.jobs, self.parts)
        sampler = UnpaddedDistributedSampler(range(len(self.parts)), world, rank)
        return DataLoader(parts, batch_size=None, sampler=sampler, num_workers=workers)

    def test_dataloader(self) -> DataLoader[Batch]:
        """The parts of this process, when ``Trainer.test`` is given no loaders."""
        return self.loader(self.trainer.global_rank, self.trainer.world_size)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Images stay where they are until they are known to be needed."""
        return batch

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Do one part, unless that is done."""
        number, images, labels = batch
        part, key = self.parts[number], content(images, labels)
        files = self._files(part)
        if all(self.store.has(*file) for file in files):
            for file in files:
                self.store.load(*file, key)  # of these very images, and whole
            return
        for file, records in zip(files, self._do(part, images, labels), strict=True):
            self.store.save(*file, records, key)

    def on_test_epoch_end(self) -> None:
        """Wait for the parts of the other processes."""
        self.trainer.strategy.barrier("evaluation")

    def records(self, number: int) -> Records:
        """The finished records of a job; memory for the numbers and the kept images only.

        Raises:
            FileNotFoundError: parts are missing: run ``trainer.test(evaluation)`` first.
        """
        parts = [part for part in self.parts if number in part.jobs]
        names = [part.names(self.jobs)[part.jobs.index(number)] for part in parts]
        return joined([self.store.load(self.names[number], name) for name in names])

    def _files(self, part: Part) -> list[tuple[str, str]]:
        """Folder and file of each of a part's jobs."""
        return list(zip([self.names[job] for job in part.jobs], part.names(self.jobs), strict=True))

    def _names(self, chunk: int) -> list[str]:
        """The folder of each job: its name and identity. Targets of one noise share it, with their grouping."""
        groups: dict[tuple[object, ...], list[Job]] = {}
        for job in self.jobs:
            groups.setdefault(_shared_by(job), []).append(job)
        models = fingerprint(self.net), fingerprint(self.attacked)
        found = {}
        for key, jobs in groups.items():
            together = [chunk, *(job.target for job in jobs)] if jobs[0].universal else []
            digest = identity(*models, jobs[0].identity(self.keep), together)
            found[key] = f"{jobs[0].name}-{digest[:12]}".replace(" ", "-")
        return [found[_shared_by(job)] for job in self.jobs]

    def _do(self, part: Part, images: Tensor, labels: Tensor) -> list[Records]:
        jobs = [self.jobs[number] for number in part.jobs]
        job, places = jobs[0], jobs[0].images.places(part.shard)
        x, y = images.to(self.device), labels.to(self.device)
        try:
            if isinstance(job.attack, SharedNoise):
                found = self._shared(jobs, job.attack, x, y)
                kept = len(x)
            else:
                found = [self._proven(x, y) if job.certify else self._single(job, x, y)]
                kept = 0 if job.certify else max(self.keep - places[0], 0)
        except ValueError as error:
            raise ValueError(f"{job.title}, from image {places[0]} of {job.images.name}: {error}") from error
        item = torch.tensor([job.images.indices[place] for place in places])
        return [records._replace(item=item, kept=records.kept[:kept]) for records in found]

    def _shared(self, jobs: Sequence[Job], attack: SharedNoise, x: Tensor, y: Tensor) -> list[Records]:
        """All images under the targets of some jobs, side by side."""
        source = self.attacked if jobs[0].source is None else jobs[0].source.to(self.device).eval()
        # Random defenses begin anew, so that a target does not depend on what its process did before.
        reset_transforms(self.net, source)
        clean = self._answer(x)
        reset_transforms(self.net, source)
        counted = Counted(source)
        with attacking(source):  # outside inference mode, which Trainer.test switches on
            found = attack.against(counted, x.clone(), y.clone(), [job.target for job in jobs])
        calls = torch.full_like(y, -(-counted.seen // (len(x) * len(jobs))))
        records = []
        for job, adversarial, noise in zip(jobs, found.adversarial, found.noise, strict=True):
            _check(x, adversarial, job.threat, list(range(len(x))))
            logits = self._answer(adversarial)
            stage = torch.where(logits.argmax(1) == y, STANDING, 0)
            stage = torch.where(clean.argmax(1) == y, stage, WRONG)
            box = torch.full_like(y, -1)[:, None].repeat(1, 4)
            made = _records(Record(adversarial, stage, calls, box), clean, logits, x, y)
            records.append(made._replace(noise=noise[None]))
        return records

    def _single(self, job: Job, x: Tensor, y: Tensor) -> Records:
        """A shard under one attack: of images that are answered correctly and not spared; the others cost nothing."""
        held = modules_of(job.attack)
        for module in held:
            module.to(self.device).eval()
        # Random defenses begin anew, so that a shard does not depend on what its process did before.
        reset_transforms(self.attacked, *held)
        clean = self._answer(x)
        correct = clean.argmax(1) == y
        record = Record(x.clone(), torch.full_like(y, WRONG), torch.zeros_like(y), y.new_full((len(y), 4), -1))
        chosen = torch.ones_like(correct) if job.universal else correct
        if job.spare:
            chosen = chosen & ~settled(self.net, job.threat, x, y)
        if job.attack is not None and bool(chosen.any()):
            found = self._attack(job.attack, x[chosen], y[chosen], clean[chosen])
            _check(x[chosen], found.adversarial, job.threat, chosen.nonzero().squeeze(1).tolist())
            for mine, new in zip(record, found, strict=True):
                mine[chosen] = new.to(mine)
        if job.threat is not None and job.threat.local:
            lost = (record.box < 0).any(1, keepdim=True)
            record = record._replace(box=torch.where(lost, changed_box(x, record.adversarial), record.box))
        logits = clean if job.attack is None else self._answer(record.adversarial)
        stage = _final(record.stage, correct, logits.argmax(1) == y)
        return _records(record._replace(stage=stage), clean, logits, x, y)

    def _proven(self, x: Tensor, y: Tensor) -> Records:
        """What is certified stands, what is not is taken for broken; calls are views, and what the model answers
        without its defense is the clean answer.
        """
        net = self.net
        if not isinstance(net, CertifiedModel):
            raise TypeError(f"expected a certified defense, got {type(net).__name__}")
        certificate = net.certify(x, y)
        with torch.no_grad():
            plain = net.model(x).float()
        stage = torch.where(certificate.certified, STANDING, 0).where(certificate.prediction == y, WRONG)
        record = Record(x.clone(), stage, certificate.passes, y.new_full((len(y), 4), -1))
        return _records(record, plain, certificate.logits.float(), x, y)

    def _attack(self, attack: Attack | SharedNoise, x: Tensor, y: Tensor, clean: Tensor) -> Record:
        if not isinstance(attack, Attack):
            raise TypeError(f"expected an attack, got {type(attack).__name__}")
        # A random model's clean answer is one draw of many: the attack takes its own.
        known = None if any(stage.random for stage in transforms_of(self.attacked)) else clean
        with attacking(self.attacked):
            return attack.record(self.attacked, x.clone(), y.clone(), clean=known)

    def _answer(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            logits: Tensor = self.net(images)
        check_logits(logits, n=len(images))
        return logits.float()


class _Parts(Dataset[Batch]):
    """Parts with their images: (number, images (n, 3, H, W), labels (n,))."""

    def __init__(self, jobs: Sequence[Job], parts: Sequence[Part]) -> None:
        self.jobs, self.parts = jobs, parts

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, number: int) -> Batch:
        part = self.parts[number]
        job = self.jobs[part.jobs[0]]
        pool = job.images
        places = range(len(pool)) if job.universal else pool.places(part.shard)
        images, labels = pool.read(places)
        return number, images, labels


def _records(record: Record, clean: Tensor, logits: Tensor, x: Tensor, y: Tensor) -> Records:
    """All that is known of images ``x`` with labels ``y``, ``item`` left empty."""
    change = (record.adversarial - x).float()
    return Records(
        item=y.new_empty(0),
        label=y,
        clean_prediction=clean.argmax(1),
        clean_confidence=clean.softmax(1).amax(1),
        prediction=logits.argmax(1),
        confidence=logits.softmax(1).amax(1),
        margin=margin(logits, y),
        stage=record.stage,
        calls=record.calls,
        box=record.box,
        linf=change.abs().flatten(1).amax(1),
        l2=change.flatten(1).norm(dim=1),
        l0=(change != 0).any(1).flatten(1).sum(1),
        # On the CPU: a sum does not depend on the device that a part happened to fall to.
        dissimilarity=dissimilarity(x.cpu(), record.adversarial.cpu()),
        kept=record.adversarial,
        noise=x.new_empty(0, 3, 1, 1),
    )


def _check(images: Tensor, adversarial: Tensor, threat: Threat | None, places: list[int]) -> None:
    if adversarial.shape != images.shape or adversarial.dtype != images.dtype:
        raise ValueError(
            f"the attack returned {tuple(adversarial.shape)} {adversarial.dtype} for {tuple(images.shape)}"
        )
    flat = adversarial.flatten(1)
    wrong = ~((flat >= 0) & (flat <= 1)).all(1)  # NaN fails every comparison
    if bool(wrong.any()):
        raise ValueError(f"the attack left [0, 1] on images {_listed(wrong, places)} of this shard")
    if threat is None:
        return
    wrong = threat.broken(images, adversarial)
    if bool(wrong.any()):
        raise ValueError(f"the attack changed more than {threat.text} on images {_listed(wrong, places)} of this shard")


def _listed(wrong: Tensor, places: list[int]) -> str:
    found = [place for place, flag in zip(places, wrong.tolist(), strict=True) if flag]
    return ", ".join(map(str, found[:5])) + (", ..." if len(found) > 5 else "")


def _final(stage: Tensor, correct: Tensor, robust: Tensor) -> Tensor:
    """Stages as the model's last answers have them, not the attack."""
    found = torch.where(robust, STANDING, torch.where(stage >= 0, stage, LATE))
    return torch.where(correct, found, WRONG)


def _shared_by(job: Job) -> tuple[object, ...]:
    """What jobs of one folder have in common."""
    return job.name, id(job.attack), id(job.images), None if job.source is None else id(job.source)
