"""How an attack asks a model: the precision of the caller, the count, the answers in float32 at least."""

import pytest
import torch
from torch import Tensor, nn

from blurnet.attacks.engine.asking import Counted, Precision, at_least_float32


class Heard(nn.Module):
    """A linear net that keeps the dtypes it is asked in and answers in."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.net = nn.Linear(3 * 4 * 4, 5).to(dtype)
        self.asked: list[tuple[torch.dtype, torch.dtype]] = []

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x.flatten(1))
        self.asked.append((x.dtype, y.dtype))
        return y


def images(n: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(0)).to(dtype)


def test_every_image_is_counted() -> None:
    model = Counted(Heard())
    for n in (2, 3):
        assert model(images(n)).shape == (n, 5)
    assert model.seen == 5


def test_a_model_of_half_precision_is_asked_in_it_and_answers_in_float32() -> None:
    net = Heard(torch.bfloat16)
    with Precision.of(images(1, torch.bfloat16)) as precision:
        answer = Counted(net, precision)(images(2))
    assert precision == Precision(torch.bfloat16, None)
    assert answer.dtype == torch.float32
    assert net.asked == [(torch.bfloat16, torch.bfloat16)]


def test_the_callers_autocast_reaches_the_model_and_nothing_else() -> None:
    net = Heard()
    with torch.autocast("cpu", torch.bfloat16), Precision.of(images(1)) as precision:
        assert precision == Precision(None, torch.bfloat16)
        assert not torch.is_autocast_enabled("cpu")
        assert Counted(net, precision)(images(2)).dtype == torch.float32
    assert net.asked == [(torch.float32, torch.bfloat16)]


def test_full_precision_is_asked_as_it_comes() -> None:
    net = Heard()
    with Precision.of(images(1)) as precision:
        answer = Counted(net, precision)(images(2))
    assert precision == Precision()
    torch.testing.assert_close(answer, net(images(2)), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.int64, torch.int64),
    ],
)
def test_only_half_precision_is_widened(dtype: torch.dtype, expected: torch.dtype) -> None:
    assert at_least_float32(torch.ones(2, dtype=dtype)).dtype == expected
