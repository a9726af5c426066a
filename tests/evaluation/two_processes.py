"""Run by test_robustness.py under Lightning's ddp strategy: evaluates the tiny net, rank 0 prints the results.

Arguments: folder, devices, chunk.
"""

import sys
from pathlib import Path

from torch.utils.data import DataLoader

from blurnet.data.loader import UnpaddedDistributedSampler
from blurnet.evaluation.robustness import Robustness
from tests.evaluation.tiny_subject import clean_set, tiny_campaign, tiny_net, tiny_victims, trainer

if __name__ == "__main__":
    folder, devices, chunk = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    robustness = Robustness(tiny_net(), tiny_victims(), [tiny_campaign(chunk=chunk)], folder)
    runner = trainer(folder, devices=devices, strategy="ddp", num_sanity_val_steps=0)

    images = clean_set()
    robustness.test_dataloader = lambda: [  # type: ignore[method-assign]
        DataLoader(images, 2, sampler=UnpaddedDistributedSampler(images, runner.world_size, runner.global_rank)),
        robustness.job_loader(runner.global_rank, runner.world_size),
    ]
    runner.test(robustness, verbose=False)
    if runner.is_global_zero:
        print(robustness.results())
