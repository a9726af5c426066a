"""Jobs from the text of the command line."""

import dataclasses

import torch

from blurnet.evaluation.attacks import parse_attacks
from blurnet.evaluation.context import Context
from blurnet.evaluation.jobs import Job, image_jobs
from blurnet.masks import rectangles
from tests.evaluation.tiny_subject import labelled, tiny_net

BOX = rectangles((12, 12), [(2, 5, 3, 9)])
OTHERS = (torch.rand(5, 3, 12, 12, generator=torch.Generator().manual_seed(9)), torch.arange(5))
FREE = Context(0.1, steps=3, source=tiny_net(1), source_name="other", held_out=OTHERS, held_out_name="others")
MASKED = dataclasses.replace(FREE, area=None, mask=BOX, mask_name="box")
POOL = labelled(tiny_net(), 4)


def jobs(text: str, context: Context = FREE, **curves) -> list[Job]:
    return image_jobs(parse_attacks(text), POOL, context, **curves)
