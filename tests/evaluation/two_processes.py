"""Run by test_run.py under Lightning's ddp strategy: evaluates the tiny net, rank 0 prints a digest of the records.

Arguments: folder, devices, chunk.
"""

import sys
from pathlib import Path

from blurnet.certified.double_masking import DoubleMasking
from blurnet.evaluation.identity import identity
from blurnet.evaluation.jobs import Job
from tests.evaluation.tiny_subject import blot_jobs, evaluation, shared_jobs, tiny_net, tiny_pool, trainer

if __name__ == "__main__":
    folder, devices, chunk = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    # 11 images in shards of 4 under 3 attacks, the clean ones, certificates, and 5 targets: parts do not divide by 2
    # processes.
    pool = tiny_pool(11, shard=4)
    alone = [Job("clean", None, pool), Job("certificate", None, pool, certify=True)]
    net = DoubleMasking(tiny_net(), patch=3, masks=2)
    module = evaluation(folder, [*alone, *shared_jobs(), *blot_jobs(pool)], net, chunk=chunk)
    runner = trainer(folder, devices=devices, strategy="ddp", num_sanity_val_steps=0)
    runner.test(module, verbose=False)
    if runner.is_global_zero:
        print(identity([tuple(module.records(number)) for number in range(len(module.jobs))]))
