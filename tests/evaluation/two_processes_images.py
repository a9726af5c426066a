"""Run by test_per_image.py under Lightning's ddp strategy: attacks the tiny pool, rank 0 prints every number.

Arguments: folder, devices.
"""

import json
import sys
from pathlib import Path

from blurnet.evaluation.report_images import image_rows, images_part
from tests.evaluation.tiny_attacks import per_image, tiny_pool
from tests.evaluation.tiny_subject import trainer

if __name__ == "__main__":
    folder, devices = Path(sys.argv[1]), int(sys.argv[2])
    module = per_image(folder, pool=tiny_pool(11, shard=4))
    runner = trainer(folder, devices=devices, strategy="ddp", num_sanity_val_steps=0)
    runner.test(module, verbose=False)
    if runner.is_global_zero:
        outcomes = module.outcomes()
        print(json.dumps([images_part(module, outcomes), *image_rows(outcomes)]))
