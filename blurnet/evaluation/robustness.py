"""The evaluation itself, for ``Trainer.test``: clean accuracy and attacks, exact on any number of processes."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor, nn
from torch.utils.data import DataLoader

from blurnet.checks import check_images, check_labels, check_logits
from blurnet.data.loader import UnpaddedDistributedSampler
from blurnet.data.sources.victims import Victims
from blurnet.evaluation.campaign import Campaign, Target, fingerprint
from blurnet.evaluation.metrics import Accuracy
from blurnet.evaluation.results import AttackResult, Results
from blurnet.evaluation.store import Store, TargetWork
from blurnet.evaluation.tally import Tally
from blurnet.files import write_atomic
from blurnet.modes import attacking
from blurnet.rates import Rate
from blurnet.transforms.base import reset_transforms

Batch = int | Sequence[Tensor]


class Robustness(pl.LightningModule):
    """Clean accuracy of a net, and its robustness on a set of victims.

    A noise is shared by all victims, so processes share the work by target: each batch of :meth:`job_loader` is
    a chunk of targets, attacked side by side. Batches of images and labels (N, 3, H, W), (N,) count for clean
    accuracy. Finished work is kept under ``folder`` and not repeated; processes must all see that folder. Use
    with ``Trainer(use_distributed_sampler=False)``: the stock sampler repeats items to even out the processes.

        trainer.test(robustness, dataloaders=[clean_loader, robustness.job_loader(rank, world)])

    Args:
        net: images in [0, 1] to logits, with one output for each of ``victims.classes``.
        victims: what is attacked; None, with no campaigns, measures clean accuracy only.
        campaigns: the attacks.
        folder: output folder, existing.
        attacked: what white-box attacks see in place of the net: its values with a surrogate's gradient; None: the
            net itself.
        classes: number of outputs, where there are no victims.

    Raises:
        TypeError, ValueError: bad victims, outputs that do not fit their classes, a target that is out of range
            or the true class of a victim.
    """

    def __init__(
        self,
        net: nn.Module,
        victims: Victims | None,
        campaigns: Sequence[Campaign],
        folder: Path,
        *,
        attacked: nn.Module | None = None,
        classes: int = 0,
    ) -> None:
        super().__init__()
        self.net, self.victims, self.campaigns = net.eval(), victims, tuple(campaigns)
        self.attacked = net if attacked is None else attacked.eval()
        self.folder, self.store = Path(folder), Store(Path(folder))
        self.classes = classes if victims is None else len(victims.classes)
        self.identity, self.names = fingerprint(net), []
        if victims is not None:
            self.before, self.before_confidence = check_victims(net, victims, self.campaigns)
            # As a list entry a source is no submodule: it keeps its own state and is moved when it is used.
            identities = [c.identity(self.attacked, victims.images, victims.labels) for c in self.campaigns]
            self.names = [f"{c.name}-{key[:12]}" for c, key in zip(self.campaigns, identities, strict=True)]
        elif self.campaigns or classes < 1:
            raise ValueError("without victims there can be no campaigns, and the number of classes must be given")
        self.jobs = [(i, chunk) for i, c in enumerate(self.campaigns) for chunk in c.chunks()]
        self.accuracy = Accuracy(self.classes)
        self.tallies = [Tally(campaign.targets) for campaign in self.campaigns]
        self._registered = nn.ModuleList(self.tallies)  # so that they follow the module to its device
        self.clean = self._stored_clean()
        self.attack_results: tuple[AttackResult, ...] | None = None if self.campaigns else ()
        # More processes than chunks of targets leave some without work.
        self.allow_zero_length_dataloader_with_multiple_devices = True

    def on_test_start(self) -> None:
        """Start counting from zero; call the victims on this device, on which the attacked ones are called too."""
        self.accuracy.reset()
        for tally in self.tallies:
            tally.reset()
        reset_transforms(self.net)
        if self.victims is not None:
            confidence, prediction = self.predict(self.victims.images.to(self.device))
            self.before, self.before_confidence = prediction.cpu(), confidence.cpu()

    def job_loader(self, rank: int = 0, world: int = 1) -> DataLoader[int]:
        """The chunks of targets that fall to one of ``world`` processes."""
        numbers = range(len(self.jobs))
        sampler = UnpaddedDistributedSampler(numbers, world, rank)
        return DataLoader(numbers, batch_size=None, sampler=sampler)  # type: ignore[arg-type]

    def test_dataloader(self) -> DataLoader[int]:
        """The jobs of this process, when ``Trainer.test`` is given no loaders."""
        return self.job_loader(self.trainer.global_rank, self.trainer.world_size)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """A job number, or images (N, 3, H, W) in [0, 1] with labels (N,)."""
        if not isinstance(batch, int):
            images, labels = batch
            check_images(images)
            check_labels(labels, n=len(images), classes=self.classes)
            self.accuracy.update(self.net(images).argmax(1), labels)
            return
        number, targets = self.jobs[batch]
        if not self.store.has(self.names[number], targets):
            self._attack(number, targets)
        for target in targets:
            self._count(number, target, self.store.load(self.names[number], target))

    def on_test_epoch_end(self) -> None:
        """Add up over processes, log, and keep the clean accuracy for a later run."""
        clean = self.accuracy.rate()
        if clean is not None:
            self.clean = clean
            self._save_clean(clean)
        values = {} if self.clean is None else {"clean/accuracy": self.clean.fraction}
        found = [self._attack_result(i) for i in range(len(self.campaigns))]
        finished = tuple(result for result in found if result is not None)
        for result in finished:
            prefix = result.name if result.source is None else f"{result.name} from {result.source}"
            values |= {f"{prefix}/asr": result.asr.fraction, f"{prefix}/worst_asr": result.worst.asr.fraction}
        # The values are the same everywhere; averaging them keeps Lightning from asking whether they are.
        self.log_dict(values, sync_dist=True)
        if len(finished) == len(found):
            self.attack_results = finished

    def results(self) -> Results:
        """What was measured; RuntimeError before all targets are done."""
        if self.attack_results is None:
            raise RuntimeError("not all targets are evaluated yet: run trainer.test(robustness) first")
        if self.victims is None:
            return Results(self.clean, None, ())
        correct = int((self.before == self.victims.labels.cpu()).sum())
        return Results(self.clean, Rate.of(correct, len(self.before)), self.attack_results)

    def _attack(self, number: int, targets: tuple[Target, ...]) -> None:
        campaign, victims = self.campaigns[number], self._attacked_victims()
        images, labels = victims.images.to(self.device), victims.labels.to(self.device)
        source = self.attacked if campaign.source is None else campaign.source.to(self.device).eval()
        # Random defenses begin anew, so that a target does not depend on what its process did before.
        reset_transforms(self.net, source)
        with attacking(source):  # outside inference mode, which Trainer.test switches on
            found = campaign.attack.against(source, images.clone(), labels.clone(), targets)
        for target, adversarial, noise in zip(targets, found.adversarial, found.noise, strict=True):
            confidence, prediction = self.predict(adversarial)
            self.store.save(self.names[number], target, TargetWork(adversarial, noise, prediction, confidence))

    def _attacked_victims(self) -> Victims:
        if self.victims is None:
            raise RuntimeError("there are no victims")
        return self.victims

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Confidence and prediction (N,) of the evaluated net."""
        with torch.no_grad():
            logits = self.net(images)
        check_logits(logits, n=len(images))
        confidence, prediction = logits.float().softmax(1).max(1)
        return confidence, prediction

    def _count(self, number: int, target: Target, work: TargetWork) -> None:
        before, after = self.before.to(self.device), work.prediction.to(self.device)
        # Distances on the CPU: a sum does not depend on the device that a target happened to fall to.
        clean = self._attacked_victims().images.cpu()
        self.tallies[number].count(target, before, after, clean, work.adversarial)

    def _attack_result(self, number: int) -> AttackResult | None:
        campaign, targets = self.campaigns[number], self.tallies[number].results()
        if targets is None:
            return None
        seed = getattr(campaign.attack, "seed", None)
        return AttackResult(campaign.name, repr(campaign.attack), seed, campaign.source_name, targets)

    def _stored_clean(self) -> Rate | None:
        path = self._clean_path()
        return Rate.of(**json.loads(path.read_text())) if path.is_file() else None

    @rank_zero_only
    def _save_clean(self, rate: Rate) -> None:
        self._clean_path().parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self._clean_path(), json.dumps({"count": rate.count, "n": rate.n}) + "\n")

    def _clean_path(self) -> Path:
        return self.store.work / f"clean-{self.identity[:12]}.json"


def check_victims(net: nn.Module, victims: Victims, campaigns: Sequence[Campaign]) -> tuple[Tensor, Tensor]:
    """Prediction and confidence (N,) of the unattacked victims; raises where anything does not fit."""
    check_images(victims.images, name="victims")
    check_labels(victims.labels, n=len(victims.images), classes=len(victims.classes), name="victims' labels")
    reset_transforms(net)
    with torch.no_grad():
        logits = net(victims.images.to(next(net.parameters(), victims.images).device))
    check_logits(logits, n=len(victims.images))
    if logits.shape[1] != len(victims.classes):
        raise ValueError(
            f"the model has {logits.shape[1]} outputs, the victims ({victims.name}) {len(victims.classes)} classes"
        )
    labels = set(victims.labels.tolist())
    for target in {target for campaign in campaigns for target in campaign.targets if target is not None}:
        if not 0 <= target < logits.shape[1]:
            raise ValueError(f"target {target} is out of range: the model's outputs are 0 to {logits.shape[1] - 1}")
        if target in labels:
            raise ValueError(f"target {target} ({victims.classes[target]}) is the true class of some victims")
    confidence, prediction = logits.cpu().float().softmax(1).max(1)
    return prediction, confidence
