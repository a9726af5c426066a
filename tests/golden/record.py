"""Record golden files from the code that is imported.

  PYTHONPATH=. python tests/golden/record.py OUT [evaluation training tensors attacks] [--only CASE,CASE]

Run it on the commit whose behaviour is to be kept, and only where a change of behaviour was decided on; then move what
is in OUT to tests/golden/data. BLURNET_SHARED_DATA names the folder of real data; cases that need it are left out where
it is absent.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

import golden_attacks
import golden_evaluation
import golden_store
import golden_tensors
import golden_training
from safetensors.torch import save_file

SOURCES = ("evaluation", "training", "tensors", "attacks")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("sources", nargs="*", default=SOURCES)
    parser.add_argument("--only", default="", help="cases of evaluation or training, with commas")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    out, only = chosen.out.resolve(), [name for name in chosen.only.split(",") if name]
    out.mkdir(parents=True, exist_ok=True)
    golden_store.write_json(out, "environment", golden_store.environment())
    for source in chosen.sources:
        RECORDERS[source](out, only)


def record_evaluation(out: Path, only: list[str]) -> None:
    folder = os.environ.get("BLURNET_SHARED_DATA")
    data = Path(folder) if folder else None
    for name, run in golden_evaluation.RUNS.items():
        if (only and name not in only) or (run.real and data is None):
            continue
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as place:
            golden_store.write_json(
                out / "evaluation", name, golden_evaluation.evaluate(run, Path(place) / "run", data)
            )
        print(f"evaluation {name}: {time.monotonic() - start:.1f} s", flush=True)


def record_training(out: Path, only: list[str]) -> None:
    for name, recipe in golden_training.RECIPES.items():
        if not only or name in only:
            with tempfile.TemporaryDirectory() as place:
                golden_store.write_json(out / "training", name, golden_training.train(recipe, Path(place)))


def record_tensors(out: Path, only: list[str]) -> None:
    found = [golden_tensors.compute(case) for case in golden_tensors.CASES]
    golden_store.save_tensors(out, "tensors", {key: value for part in found for key, value in part.items()})


def record_attacks(out: Path, only: list[str]) -> None:
    golden_attacks.record_problem(out)
    problem = golden_attacks.load_problem(out)
    kept: dict[str, torch.Tensor] = {}
    for case in golden_attacks.CASES:
        adversarial = golden_attacks.compute(case, problem)
        kept |= golden_attacks.packed(case, adversarial, golden_attacks.beside(case, problem))
    save_file(kept, out / "attacks.safetensors")


RECORDERS = dict(zip(SOURCES, (record_evaluation, record_training, record_tensors, record_attacks), strict=True))

if __name__ == "__main__":
    main()
