"""Golden files: how they are written and read, on which machine they bind to the bit, and what is excepted.

A golden file holds what the code computed on the day it was recorded. On the machine of the recording (same PyTorch,
same instruction set, same processor) new results must equal it to the bit. Elsewhere sums are taken in another order:
plain tensors are then compared within ``TENSOR_ATOL``, training losses within ``LOSS_RTOL``. Attacks climb a chaotic
surface, where one rounding error changes which images fall in the end: there only the number of fooled images is
compared, and it may differ by ``IMAGES`` of them.
"""

import hashlib
import json
import platform
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

DATA = Path(__file__).parent / "data"
TENSOR_ATOL = 1e-5
LOSS_RTOL = 1e-3
FLIPPED = 0.02  #: share of values that may be farther off: a step function (JPEG, a gate) that fell the other way
IMAGES = 2  #: fooled images more or less, on another machine
SAMPLE = 128  #: values of a larger tensor that are kept beside its digest

#: What may differ from the golden files, and why: "source/case" or "source/case/figure", with * and ?, to the reason.
#: For example {"evaluation/rp2-*/rp2/repr": "RP2 prints its new setting"}. Sources: evaluation, training, tensors,
#: attacks. A line here is a change of behaviour that somebody decided on; it belongs into the changelog too.
EXCEPTIONS: dict[str, str] = {
    "evaluation/*/average/low": "several targets of one image are no independent trials: images are resampled",
    "evaluation/*/average/high": "several targets of one image are no independent trials: images are resampled",
    "evaluation/*crops*/low": "frames of one track are no independent trials: tracks are resampled",
    "evaluation/*crops*/high": "frames of one track are no independent trials: tracks are resampled",
    "evaluation/rp2-replay/clean/accuracy/low": "frames of one track are no independent trials: tracks are resampled",
    "evaluation/rp2-replay/clean/accuracy/high": "frames of one track are no independent trials: tracks are resampled",
    "evaluation/*mask*/rows/lavan/box": "LaVAN says where its patch lies, as the other attacks do",
    "attacks/autopatch*": "AutoPatch races over all places before its other stages",
    "evaluation/*/rows/autopatch/*": "AutoPatch races over all places before its other stages",
    "evaluation/*/per_image/autopatch/*": "AutoPatch races over all places before its other stages",
    "evaluation/*/per_image/robust/*": "the worst case holds AutoPatch, which races over all places",
    "evaluation/*/per_image/threat */robust/*": "the worst case holds AutoPatch, which races over all places",
    "evaluation/*/per_image/places": "the worst case holds AutoPatch, which races over all places",
    "evaluation/random-defenses": "a random model draws anew at each pass, and clean images are passed less often",
    "attacks/eot on random": "a random model draws anew at each pass, and clean images are passed less often",
    "evaluation/*/per_image/*/calls/*": "each clean image is passed once, not once a stage: see the rows",
}


def excepted(source: str, *names: str) -> str | None:
    """The reason why this case or figure is let go; None: it binds."""
    paths = ["/".join((source, *names[:end])) for end in range(1, len(names) + 1)]
    return next((why for pattern, why in EXCEPTIONS.items() if any(fnmatch(path, pattern) for path in paths)), None)


def environment() -> dict[str, str]:
    """What the last bits depend on."""
    return {
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "processor": _processor(),
        "threads": str(torch.get_num_threads()),
    }


def same_machine() -> bool:
    """Whether results must equal the golden files to the bit."""
    return bool(environment() == read_json("environment"))


def _processor() -> str:
    """The processor's name, and its model number: clouds call many different ones the same."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return platform.processor() or platform.machine()
    lines = (line.partition(":") for line in info.read_text().splitlines())
    found: dict[str, str] = {}
    for key, _, value in lines:
        found.setdefault(key.strip(), value.strip())
    names = ("model name", "cpu family", "model", "stepping")
    return ", ".join(found.get(name, "?") for name in names)


def read_json(name: str) -> Any:
    """A golden file ``data/<name>.json``."""
    return json.loads((DATA / f"{name}.json").read_text())


def write_json(folder: Path, name: str, value: dict[str, Any]) -> None:
    """One line for each key on the first and second level, so that a diff shows what changed."""
    lines = []
    for key, part in value.items():
        if isinstance(part, dict) and part:
            inner = ",\n".join(f"  {json.dumps(k)}: {_compact(v)}" for k, v in part.items())
            lines.append(f" {json.dumps(key)}: {{\n{inner}\n }}")
        elif isinstance(part, list) and part and isinstance(part[0], list | dict):
            inner = ",\n".join(f"  {_compact(v)}" for v in part)
            lines.append(f" {json.dumps(key)}: [\n{inner}\n ]")
        else:
            lines.append(f" {json.dumps(key)}: {_compact(part)}")
    path = folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _compact(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def digest(tensor: Tensor) -> str:
    """Shape, type and bits in 16 letters; minus zero counts as zero."""
    kept = tensor.detach().cpu().contiguous()
    kept = kept + 0.0 if kept.is_floating_point() else kept
    head = f"{tuple(kept.shape)} {kept.dtype} ".encode()
    return hashlib.sha256(head + kept.numpy().tobytes()).hexdigest()[:16]


def sample(tensor: Tensor) -> Tensor:
    """The whole of a small tensor, flat; of a larger one values at even distances."""
    flat = tensor.detach().cpu().contiguous().flatten()
    if len(flat) <= SAMPLE:
        return flat.clone()
    return flat[torch.arange(SAMPLE) * len(flat) // SAMPLE].clone()


def save_tensors(folder: Path, name: str, tensors: dict[str, Tensor]) -> None:
    """``name.json`` with the digest of each, ``name.safetensors`` with samples."""
    write_json(folder, name, {"digests": {key: digest(tensor) for key, tensor in tensors.items()}})
    save_file({key: sample(tensor) for key, tensor in tensors.items()}, folder / f"{name}.safetensors")


class GoldenTensors:
    """The golden tensors of one file."""

    def __init__(self, name: str) -> None:
        self.digests: dict[str, str] = read_json(name)["digests"]
        self.samples = load_file(DATA / f"{name}.safetensors")

    def of(self, case: str) -> set[str]:
        """The names of a case's tensors."""
        return {key for key in self.digests if key.rpartition("/")[0] == case}

    def check(self, source: str, case: str, found: dict[str, Tensor], *, exact: bool) -> None:
        """Assert that a case's tensors, by names "case/part", are the golden ones."""
        assert set(found) == self.of(case)
        wrong = []
        for key, tensor in found.items():
            right = digest(tensor) == self.digests[key] if exact else self._near(key, tensor)
            if not right and excepted(source, key) is None:
                far = (sample(tensor).double() - self.samples[key].double()).abs().max().item()
                wrong.append(f"{key}: {tuple(tensor.shape)} {tensor.dtype}, {far:.3g} apart at most in the sample")
        assert not wrong, "\n".join(wrong)

    def _near(self, key: str, tensor: Tensor) -> bool:
        got, want = sample(tensor), self.samples[key]
        if got.shape != want.shape:
            return False
        near = torch.isclose(got.double(), want.double(), rtol=1e-4, atol=TENSOR_ATOL)
        return float((~near).float().mean()) <= FLIPPED
