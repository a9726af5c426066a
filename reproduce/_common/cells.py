"""Long runs in parts: what is finished stays in a file, and a second run takes it from there."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from blurnet.files import read_safetensors, write_atomic


class Cells:
    """The parts of one run with one choice of settings, by name.

    Another choice of settings is another run beside it, whose parts do not mix with these. To begin anew, delete
    the folder.

    Args:
        folder: made where it is missing.
        name: of the run, the beginning of its files' names.
        settings: everything that decides the numbers, as JSON holds it.
    """

    def __init__(self, folder: Path, name: str, settings: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
        self.stem, self.settings = folder / f"{name}-{digest}", settings
        self.file = self.stem.with_name(f"{self.stem.name}.json")
        self.done: dict[str, Any] = json.loads(self.file.read_text())["cells"] if self.file.is_file() else {}

    def __contains__(self, key: str) -> bool:
        return key in self.done

    def get(self, key: str, compute: Callable[[], Any]) -> Any:
        """What is kept under ``key``; else compute it, keep it (whole or not at all) and return it."""
        if key not in self.done:
            self.done[key] = compute()
            write_atomic(self.file, json.dumps({"settings": self.settings, "cells": self.done}, indent=1) + "\n")
        return self.done[key]

    def tensors(self, key: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """The same for tensors by name, in a file of their own."""
        file = self.stem.with_name(f"{self.stem.name}-{key}.safetensors")
        if not file.is_file():
            write_atomic(file, safetensors.torch.save({k: v.contiguous() for k, v in compute().items()}))
        return read_safetensors(file)
