"""Every defended net as a torch.export program and as an ONNX file gives the net's answers, or is refused by name."""

import json
import sys
from collections.abc import Collection

import pytest
import torch
from torch import nn

from blurnet.certified.base import CertifiedModel
from blurnet.layers.insert import insert_after
from blurnet.layers.lowpass import LearnedLowPass
from blurnet.nets.lisa_cnn import LisaCNN
from blurnet.nets.normalize import Normalize
from blurnet.transforms.base import defend
from blurnet.transforms.bit_depth import BitDepth
from blurnet.transforms.gaussian import Gaussian
from blurnet.zoo import export
from blurnet.zoo.build import DEFENSES, LAYERS, build
from blurnet.zoo.export import OPSET, export_onnx, export_program
from blurnet.zoo.models import list_models, load_model
from blurnet.zoo.spec import DefenseSpec, ModelSpec

CLASSES = [f"class {i}" for i in range(18)]
ARGS = {
    "total_variation": {"alpha": 1e-4},
    "tikhonov": {"alpha": 1e-4, "operator": "pinv"},
    "derandomized": {"area": 0.05},
    "double_masking": {"area": 0.05},
}
IMAGES = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(7))
REFUSED = {
    "derandomized": "masked views",
    "double_masking": "masked views",
    "class_inpainting": "looks into the net",
    "digital_watermark": "takes gradients",
    "dip": "trains a net",
    "jpeg": "codec",
    "random_resize_pad": "random numbers",
    "total_variation_min": "how many iterations",
}
LONG = {"non_local_means"}  # thousands of operations: slow as a program, no ONNX file within a quarter of an hour
FAST_ONNX = {"learned_low_pass", "lgs"}

#: Settings beside the defaults whose code is another.
VARIANTS = [
    DefenseSpec("lgs", args={"stencil": "sobel", "maps": "channel", "gate": "soft"}),
    DefenseSpec("lgs", args={"low_pass": 3, "padding": "none", "stencil": "central"}),
    DefenseSpec("bilateral", args={"rule": "opencv", "sigma_color": 0.1}),
    DefenseSpec("bit_depth", args={"rule": "truncate"}),
    DefenseSpec("median", args={"size": 5}),
    DefenseSpec("wavelet", args={"method": "VisuShrink", "mode": "hard", "ycbcr": False}),
    *(
        DefenseSpec("feature_denoise", after="relu1", args={"operation": name})
        for name in ("dot", "bilateral-gaussian", "mean", "median")
    ),
]


def defended(*defenses: DefenseSpec) -> nn.Module:
    """A LISA-CNN with weights that a seed draws, batch statistics among them."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = build(ModelSpec(classes=CLASSES, defenses=list(defenses)))
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight)
                nn.init.uniform_(module.running_mean)
    return net


def spec(name: str) -> DefenseSpec:
    return DefenseSpec(name, args=ARGS.get(name, {}), after="relu1" if name in LAYERS else None)


def slow_unless(names: set[str], without: Collection[str] = ()) -> list[object]:
    exportable = sorted(set(DEFENSES) - set(REFUSED) - set(without))
    return [pytest.param(name, marks=() if name in names else [pytest.mark.slow]) for name in exportable]


def runs_like(net: nn.Module, run) -> None:
    """Batches of 1 and 5 give the net's logits."""
    with torch.no_grad():
        for images in (IMAGES[:1], IMAGES):
            torch.testing.assert_close(run(images), net.eval()(images), rtol=1e-5, atol=1e-5)


def session(path):
    runtime = pytest.importorskip("onnxruntime")
    made = runtime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return made, lambda images: torch.from_numpy(made.run(["logits"], {"images": images.numpy()})[0])


@pytest.mark.parametrize("name", slow_unless(set(DEFENSES) - LONG))
def test_every_defense_as_a_program(name):
    net = defended(spec(name))
    runs_like(net, export_program(net).module())


@pytest.mark.parametrize("name", slow_unless(FAST_ONNX, without=LONG))
def test_every_defense_as_onnx(name, tmp_path):
    net = defended(spec(name))
    runs_like(net, session(export_onnx(net, tmp_path / "net.onnx"))[1])


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_be_exported_is_refused_by_name(name, tmp_path):
    net = defended(spec(name))
    for refused in (lambda: export_program(net), lambda: export_onnx(net, tmp_path / "net.onnx")):
        with pytest.raises(
            ValueError, match=rf"{DEFENSES[name].__name__}( \({name}\))? cannot be exported: .*{REFUSED[name]}"
        ):
            refused()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda spec: "-".join([spec.name, *map(str, spec.args.values())]))
def test_other_settings(variant, tmp_path):
    net = defended(variant)
    runs_like(net, export_program(net).module())
    runs_like(net, session(export_onnx(net, tmp_path / "net.onnx"))[1])


def leaving(name: str) -> nn.Module:
    """A shipped model, or the net in it where a certified defense is around it, which stays."""
    net = load_model(name)
    if not isinstance(net, CertifiedModel):
        return net
    with pytest.raises(ValueError, match="cannot be exported: which masked views"):
        export_program(net)
    return net.model


@pytest.mark.parametrize("name", list_models())
def test_every_shipped_model_as_a_program(name):
    net = leaving(name)
    runs_like(net, export_program(net).module())


@pytest.mark.slow
@pytest.mark.parametrize("name", list_models())
def test_every_shipped_model_as_onnx(name, tmp_path):
    net = leaving(name)
    runs_like(net, session(export_onnx(net, tmp_path / "net.onnx"))[1])


def test_what_the_file_says(saved, tmp_path):
    onnx = pytest.importorskip("onnx")
    net = load_model(saved)
    path = export_onnx(net, tmp_path / "new" / "net.onnx")
    made, _ = session(path)
    (images,), (logits,) = made.get_inputs(), made.get_outputs()
    assert (images.name, images.shape, images.type) == ("images", ["batch", 3, 32, 32], "tensor(float)")
    assert (logits.name, logits.shape) == ("logits", ["batch", 3])
    told = made.get_modelmeta().custom_metadata_map
    assert json.loads(told["classes"]) == ["stop", "yield", "merge"]
    assert (told["name"], told["sha256"]) == (saved.name, net.card.sha256)
    assert [(part.domain, part.version) for part in onnx.load(path).opset_import] == [("", OPSET)]
    assert b".py" not in path.read_bytes(), "a path of this machine"
    assert [file.name for file in path.parent.iterdir()] == ["net.onnx"]


def test_a_fixed_batch(tmp_path):
    net = defended()
    made, run = session(export_onnx(net, tmp_path / "net.onnx", batch=5))
    assert made.get_inputs()[0].shape == [5, 3, 32, 32]
    with torch.no_grad():
        torch.testing.assert_close(run(IMAGES), net.eval()(IMAGES), rtol=0, atol=1e-5)
        one = export_program(net, batch=1).module()
        torch.testing.assert_close(one(IMAGES[:1]), net(IMAGES[:1]), rtol=0, atol=1e-5)
    for batch in (0, True, 1.0):
        with pytest.raises(ValueError, match="positive number of images"):
            export_program(net, batch=batch)


def test_your_own_net_with_layer_chain_and_normalisation(tmp_path):
    plain = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 7, 3), nn.AdaptiveAvgPool2d(1))
    body = insert_after(plain, "0", LearnedLowPass(8, 5))
    net = defend(nn.Sequential(Normalize(), body, nn.Flatten()), Gaussian(window=5), BitDepth(5))
    with pytest.raises(ValueError, match="give size="):
        export_program(net)
    run = session(export_onnx(net, tmp_path / "net.onnx", size=(64, 48)))[1]
    images = torch.rand(3, 3, 64, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(run(images), net.eval()(images), rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "vit_b_16"])
def test_torchvision_nets(name, tmp_path):
    net = build(ModelSpec(net=f"torchvision/{name}", classes=CLASSES, defenses=[DefenseSpec("lgs")]))
    run = session(export_onnx(net, tmp_path / "net.onnx", size=224))[1]
    images = torch.rand(3, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(run(images), net.eval()(images), rtol=1e-4, atol=1e-4)


def test_timm_nets_know_their_size():
    timm = pytest.importorskip("timm")
    net = build(ModelSpec(net="timm/mobilenetv2_050", classes=CLASSES, defenses=[DefenseSpec("median")]))
    assert isinstance(net.net.net, timm.models.EfficientNet)
    assert export._size(net, None) == (224, 224)
    assert export._size(net, 96) == (96, 96)


def test_the_net_is_left_as_it_was():
    net = defended(spec("feature_denoise"))
    net.conv1.eval()
    modes = [module.training for module in net.modules()]
    before = {key: value.clone() for key, value in net.state_dict().items()}
    state = torch.random.get_rng_state()
    export_program(net)
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(p.requires_grad for p in net.parameters())


class Forgetful(nn.Module):
    """A net whose program keeps the number that was current while it was traced."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.calls = LisaCNN(), 0

    def forward(self, x):
        self.calls += 1
        return self.net(x) + self.calls


def test_a_program_that_differs_is_not_kept(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"the old one")
    with pytest.raises(RuntimeError, match="the exported program differs from the net by"):
        export_program(Forgetful())
    with pytest.raises(RuntimeError, match="ONNX Runtime differs from the net by"):
        export_onnx(Forgetful(), tmp_path / "net.onnx")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"the old one"]


def test_bad_places_and_a_missing_extra(tmp_path, monkeypatch):
    net = nn.Sequential(Normalize(), LisaCNN())
    with pytest.raises(ValueError, match=r"suffix \.onnx"):
        export_onnx(net, tmp_path / "net.pt")
    with pytest.raises(ValueError, match="on the CPU"):
        export_onnx(net.to("meta"), tmp_path / "net.onnx")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="folder of the ONNX file"):
        export_onnx(LisaCNN(), tmp_path / "file" / "net.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"pip install 'blurnet\[onnx\]'"):
        export_onnx(LisaCNN(), tmp_path / "net.onnx")
