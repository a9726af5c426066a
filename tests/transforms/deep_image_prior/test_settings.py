import pytest

from blurnet.transforms.deep_image_prior.settings import DeepImagePriorSettings
from blurnet.transforms.deep_image_prior.stopping import Fixed, MovingVariance, SmoothedPSNR, WindowedVariance


def test_the_defaults_are_the_posters():
    settings = DeepImagePriorSettings()
    assert (settings.iterations, settings.stop, settings.activation) == (1750, "fixed", "swish")


@pytest.mark.parametrize(
    ("stop", "rule"),
    [
        ("fixed", Fixed()),
        ("es-wmv", WindowedVariance(patience=7)),
        ("es-emv", MovingVariance(patience=7)),
        ("psnr", SmoothedPSNR()),
    ],
)
def test_a_name_is_a_rule(stop, rule):
    assert DeepImagePriorSettings(stop=stop, patience=7).rule == rule


def test_widths_and_skips_take_the_place_of_the_nets():
    shape = DeepImagePriorSettings(net="snail", widths=(5, 6)).shape
    assert (shape.widths, shape.skips, shape.inputs) == ((5, 6), (0, 0), 3)
    assert DeepImagePriorSettings(net="small", widths=(5,) * 6).shape.skips == (4, 4, 4, 4, 0, 0)
    assert DeepImagePriorSettings(widths=(5,), skips=(2,), activation="relu").shape.activation == "relu"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"iterations": 0}, "DeepImagePrior iterations: expected from 1, got 0"),
        (
            {"stop": "never"},
            "DeepImagePrior stop: expected one of .*'es-wmv'.*, got 'never'",
        ),
        ({"net": "unet"}, "DeepImagePrior net: expected one of .*'reference'.*, got 'unet'"),
        ({"average": 1.0}, r"DeepImagePrior average: expected in \[0, 1\), got 1.0"),
        ({"lr": 0}, "DeepImagePrior lr: expected a positive number, got 0"),
        ({"skips": (1,)}, "a skip for each scale"),
        ({"iterations": 3, "unroll": 3}, "DeepImagePrior unroll: expected fewer than the 3 iterations.*got 3"),
        ({"unroll": 4, "stop": "psnr"}, "DeepImagePrior unroll: .* stop='fixed' only"),
        ({"chunk": 0}, "DeepImagePrior chunk: expected from 1, got 0"),
    ],
    ids=str,
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        DeepImagePriorSettings(**settings)
