import pytest
import torch

from blurnet.evaluation.records import dissimilarity


@pytest.mark.parametrize("denominator", ["adversarial", "clean"])
def test_dissimilarity_is_the_formula(generator, denominator):
    clean, adversarial = torch.rand(2, 5, 3, 6, 6, generator=generator)
    base = adversarial if denominator == "adversarial" else clean
    want = torch.stack(
        [((c - a) ** 2).sum().sqrt() / (b**2).sum().sqrt() for c, a, b in zip(clean, adversarial, base, strict=True)]
    )
    torch.testing.assert_close(dissimilarity(clean, adversarial, denominator), want)


def test_dissimilarity_of_the_same_image_is_zero():
    assert dissimilarity(torch.ones(2, 3, 4, 4), torch.ones(2, 3, 4, 4)).tolist() == [0, 0]
    assert dissimilarity(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)).tolist() == [0]


def test_bad_input():
    with pytest.raises(ValueError, match=r"'adversarial', 'clean'.*got 'l2'"):
        dissimilarity(torch.ones(1, 3, 2, 2), torch.ones(1, 3, 2, 2), "l2")
    with pytest.raises(ValueError, match="shapes differ"):
        dissimilarity(torch.ones(1, 3, 2, 2), torch.ones(2, 3, 2, 2))
