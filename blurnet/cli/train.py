"""Training from the command line: fit, validate, test."""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytorch_lightning as pl
from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt
from pytorch_lightning.callbacks import Callback, LearningRateMonitor, Timer, TQDMProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

from blurnet.checks import check_writable
from blurnet.cli.shared import HelpText, one_line_errors, own_arguments, public_command
from blurnet.data.module import SignData
from blurnet.files import save_weights
from blurnet.quiet import quiet
from blurnet.training.callbacks import AtomicCheckpointIO, StepSeed, best_and_last
from blurnet.training.classifier import Classifier
from blurnet.training.run import (
    SaveRunConfig,
    best_checkpoint,
    check_image_size,
    check_monitor,
    clean_accuracy,
    delete_run,
    export_model,
    last_checkpoint,
    loggers,
)
from blurnet.zoo.parse import parse_defenses

DESCRIPTION = """Train a classifier with its defenses.

  python train.py fit --config configs/train/lisa_cnn-linf7.yaml --data.root DIR   train, test, export
  ... --resume                     the same command again goes on after a kill, to the same weights
  ... --seed_everything 1 --out runs/linf7-1 --model.lr 0.02 --trainer.max_epochs 10   change anything
  python train.py test --config runs/lisa_cnn-linf7/config.yaml                    test a finished run

A run writes into one folder (--out): config.yaml, checkpoints/best.ckpt and last.ckpt (to resume), logs/ (CSV and
TensorBoard), and model/ (the best weights as safetensors with their card: what blurnet.load_model reads). The best
epoch is that of the highest val/accuracy; of the objectives masked and masked-random, of the highest val/certified."""

TRAINER_DEFAULTS: dict[str, Any] = {
    "max_epochs": 30,
    "log_every_n_steps": 50,
    "num_sanity_val_steps": 0,
    "use_distributed_sampler": False,  # Lightning's pads: the data module brings exact ones
}


def train_main(args: Sequence[str] | None = None) -> None:
    """Run ``fit``, ``validate`` or ``test`` with these arguments (None: the command line's).

    Wrong arguments, missing data and an unwritable output folder end in one line and exit status 2, before any work.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    with quiet():
        TrainCLI(arguments)


class TrainParser(LightningArgumentParser):
    """Says what is wrong in the arguments without the usage, which runs to a hundred lines here."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print one error and exit with status 2."""
        if missing := re.search(r"arguments are required: (\w+)$", message, re.MULTILINE):
            message = f"this data needs --data.{missing[1]}"
        elif message.endswith("are required: fit.data"):
            message = "no data: give --config FILE, or --data NAME with its arguments"
        self.exit(2, f"train.py: error: {message}\n")


class TrainCLI(LightningCLI):
    """LightningCLI over :class:`Classifier` and the data modules, with one output folder per run."""

    def __init__(self, arguments: list[str]) -> None:
        self.arguments = arguments
        with own_arguments(arguments):
            super().__init__(
                Classifier,
                SignData,
                subclass_mode_data=True,
                save_config_callback=SaveRunConfig,
                save_config_kwargs={"save_to_log_dir": False},
                trainer_defaults=TRAINER_DEFAULTS,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
                parser_kwargs={"description": DESCRIPTION, "prog": "train.py", "formatter_class": HelpText},
                parser_class=TrainParser,
            )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Fit, validate and test; evaluation under attack is evaluate.py's work."""
        known = LightningCLI.subcommands()
        return {name: known[name] for name in ("fit", "validate", "test")}

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """One seed for everything: weights, the order of the data, its augmentation, dropout."""
        parser.add_argument(
            "--seed_everything",
            type=NonNegativeInt,
            default=0,
            help="Seed of weights, data order, augmentation, dropout.",
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's folder and what to do where it holds a run."""
        parser.add_argument(
            "--out", type=str | None, default=None, help="Output folder (default: runs/<name of the config>)."
        )
        parser.add_argument(
            "--resume",
            action="store_true",
            help="Go on from checkpoints/last.ckpt in --out; start where there is none.",
        )
        parser.add_argument(
            "--defenses",
            type=str,
            default="",
            help="More defenses, applied after the config's in this order, such as lgs,fixed_low_pass:kernel_size=5.",
        )
        parser.add_argument("--overwrite", action="store_true", help="Delete the run that --out holds and start again.")
        parser.link_arguments("seed_everything", "data.init_args.seed")
        parser.link_arguments("data.classes", "model.classes", apply_on="instantiate")

    def before_instantiate_classes(self) -> None:
        """Move what --defenses names into the model's own list, which is what the saved config holds."""
        settings = self.config[self.subcommand]
        with one_line_errors("train.py"):
            added = [Namespace(**vars(spec)) for spec in parse_defenses(settings.defenses)]  # type: ignore[no-untyped-call]
        settings.defenses = ""
        settings.model.defenses = [*_as_list(settings.model.defenses), *added]

    def instantiate_classes(self) -> None:
        """Make data, model and trainer; what is wrong with their arguments is said in one line."""
        with one_line_errors("train.py"):
            super().instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Make the trainer, with everything it writes inside the run's folder."""
        self.out = Path(self._get(self.config, "out") or f"runs/{self._config_name()}")
        given = self._get(self.config_init, "trainer")
        fitting = self.subcommand == "fit"
        if given.logger is None:
            kwargs["logger"] = loggers(self.out) if fitting else False
        kwargs["default_root_dir"] = self.out
        kwargs["plugins"] = [*_as_list(given.plugins), AtomicCheckpointIO()]
        if fitting:
            kwargs["callbacks"] = [*_as_list(given.callbacks), *self._callbacks(given)]
        return super().instantiate_trainer(**kwargs)

    def _callbacks(self, given: Any) -> list[Callback]:
        self.timer = Timer(interval="epoch", verbose=False)
        callbacks: list[Callback] = [StepSeed(self._get(self.config, "seed_everything")), self.timer]
        if given.enable_checkpointing is not False:
            callbacks += best_and_last(self.out / "checkpoints", self.model.objective.monitor)
        if given.enable_progress_bar is not False:
            callbacks.append(TQDMProgressBar(refresh_rate=10))
        if given.logger is not False and not given.fast_dev_run:
            callbacks.append(LearningRateMonitor("epoch"))
        return callbacks

    def _config_name(self) -> str:
        paths = self._get(self.config, "config") or self.config.get("config") or []
        return Path(str(paths[-1])).stem if paths else "train"

    def before_fit(self) -> None:
        """Find the checkpoint to resume from, refuse a folder that holds a run, and read the data."""
        last = last_checkpoint(self.out)
        with one_line_errors("train.py"):
            if self._get(self.config, "resume"):
                if last.is_file():
                    check_monitor(last, self.model.objective.monitor)
                    self.config_init[self.subcommand]["ckpt_path"] = str(last)
            elif last.is_file() and not self._get(self.config, "overwrite"):
                raise ValueError(
                    f"{self.out} holds a run: add --resume to go on with it, --overwrite, or another --out"
                )
            check_image_size(self.model.net, self.datamodule.image_size)
            self.datamodule.prepare_data()
            self.datamodule.setup("fit")
            check_writable(self.out)
            if self._get(self.config, "overwrite") and not self._get(self.config, "resume"):
                delete_run(self.out)

    def after_fit(self) -> None:
        """Test the best checkpoint and export it, unless this was a dry run."""
        if self._get(self.config, "trainer").fast_dev_run or self.trainer.interrupted:
            return
        best = best_checkpoint(self.out)
        best_path = str(best) if best.is_file() else None  # without checkpoints: the weights as they are
        self.trainer.test(self.model, datamodule=self.datamodule, ckpt_path=best_path)
        if self.trainer.is_global_zero:
            with self._nothing_lost(best):
                folder = self._export()
            print(f"model: {folder}   (blurnet.load_model({str(folder)!r}))")

    def _export(self) -> Path:
        return export_model(
            self.model,
            self.datamodule,
            self.out / "model",
            accuracy=clean_accuracy(self.model, self.datamodule),
            seed=self._get(self.config, "seed_everything"),
            command=public_command("train.py", self.arguments),
            seconds=self.timer.time_elapsed("train"),
        )

    @contextmanager
    def _nothing_lost(self, best: Path) -> Iterator[None]:
        """Where the export fails, say where the weights are and how to export them; exit status 1."""
        try:
            yield
        except Exception as error:
            if best.is_file():
                again = "the same command with --resume trains no more and exports again"
            else:  # no checkpoints were asked for
                best = self.out / "weights.safetensors"
                save_weights(self.model.net, best)
                again = "build the net from config.yaml and load them with blurnet.zoo.load_weights"
            where = f"the training is finished and its weights are in {best}; {again}"
            print(f"train.py: error: no model was written to {self.out / 'model'}: {error}\n{where}", file=sys.stderr)
            if not isinstance(error, ValueError | OSError):
                raise  # nobody expected it: the traceback says more
            raise SystemExit(1) from error

    def before_validate(self) -> None:
        """Take the run's best checkpoint unless --ckpt_path names another."""
        with one_line_errors("train.py"):
            self._choose_checkpoint()

    before_test = before_validate

    def _choose_checkpoint(self) -> None:
        settings = self.config_init[self.subcommand]
        path = Path(settings.get("ckpt_path") or best_checkpoint(self.out))
        if not path.is_file():
            raise FileNotFoundError(f"no checkpoint {path}; name the run with --out or a file with --ckpt_path")
        settings["ckpt_path"] = str(path)


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
