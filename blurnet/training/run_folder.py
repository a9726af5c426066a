"""The folder of a run: config.yaml, checkpoints/best.ckpt and last.ckpt, logs/, model/."""

import shutil
from pathlib import Path

import pytorch_lightning as pl
from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.cli import SaveConfigCallback
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger


def best_checkpoint(out: Path) -> Path:
    """Where a run keeps the weights of its highest validation accuracy."""
    return out / "checkpoints" / "best.ckpt"


def last_checkpoint(out: Path) -> Path:
    """Where a run keeps what it resumes from."""
    return out / "checkpoints" / "last.ckpt"


def loggers(out: Path) -> list[Logger]:
    """CSV and TensorBoard under out/logs; each start of a run has its own folder, so a resume keeps the old log."""
    version = f"start_{len(list((out / 'logs').glob('start_*')))}"
    return [CSVLogger(out, name="logs", version=version), TensorBoardLogger(out, name="logs", version=version)]


@rank_zero_only
def delete_run(out: Path) -> None:
    """Delete what a run writes, and nothing else that may be in the folder."""
    for name in ("checkpoints", "logs", "model"):
        if (out / name).is_dir():
            shutil.rmtree(out / name)
    (out / "config.yaml").unlink(missing_ok=True)


class SaveRunConfig(SaveConfigCallback):
    """Writes config.yaml into the run's folder: every setting, so that ``--config`` with it repeats the run."""

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write the file once, when fitting starts."""
        if stage == "fit":
            config = self.config.clone()
            config["resume"] = config["overwrite"] = False
            config["out"] = str(trainer.default_root_dir)
            self.parser.save(config, str(Path(trainer.default_root_dir) / "config.yaml"), overwrite=True)
