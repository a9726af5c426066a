"""Counter-based random numbers: distributions, keys."""

import pytest
import torch

from blurnet.data.synthetic.draws import Draws, keys


def test_draws_have_the_stated_distribution() -> None:
    draws = Draws(keys(3, 0, torch.arange(200)))
    uniform, normal = draws.uniform(-1, 3, 500), draws.normal(500)
    assert uniform.min() >= -1
    assert uniform.max() < 3
    assert uniform.mean() == pytest.approx(1, abs=0.02)
    assert normal.mean() == pytest.approx(0, abs=0.01)
    assert normal.std() == pytest.approx(1, abs=0.01)
    assert draws.chance(0.25, 500).mean() == pytest.approx(0.25, abs=0.01)
    picked = draws.choice(torch.full((200,), 3))
    assert set(picked.tolist()) == {0, 1, 2}
    # Neighbouring items and successive calls are unrelated.
    assert torch.corrcoef(torch.stack((uniform[0], uniform[1], normal[0])))[0, 1:].abs().max() < 0.15


def test_keys_differ_by_seed_stream_and_item() -> None:
    seeds = (0, 1, -1, 2**63, 2**70 + 5)
    all_keys = torch.cat([keys(seed, stream, torch.arange(500)) for seed in seeds for stream in range(3)])
    assert len(all_keys.unique()) == len(all_keys)
