import pytest
import torch
import torchvision
from safetensors.torch import save_file

from blurnet.evaluation.model import FunctionModel, adaptive_part, check_gradients, defenses_part, of_module, read_model
from blurnet.evaluation.render.probe import first_layer
from blurnet.nets.vision import timm_net, torchvision_net
from blurnet.transforms.base import transforms_of
from blurnet.transforms.bit_depth import bit_depth
from blurnet.transforms.gaussian import Gaussian, gaussian_filter
from blurnet.transforms.jpeg.jpeg import JPEG
from blurnet.zoo.models import load_model
from blurnet.zoo.parse import parse_defenses

ADDED = parse_defenses("gaussian:sigma=0.5,bit_depth:bits=4")


def test_added_defenses_stand_in_front_in_the_order_given():
    loaded, x = read_model("lisa_cnn-lgs"), torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    behind = loaded.behind(ADDED)
    with torch.no_grad():
        assert torch.equal(behind.net(x), loaded.net(bit_depth(gaussian_filter(x, 0.5), 4)))
        assert not torch.allclose(behind.net(x), loaded.net(x))
    assert [type(t).__name__ for t in transforms_of(behind.net)] == ["Gaussian", "BitDepth", "LGS"]
    assert (behind.classes, behind.spec, behind.name) == (loaded.classes, loaded.spec, "lisa_cnn-lgs")
    assert not behind.net.training
    assert loaded.behind([]) is loaded
    layer = first_layer(behind.net, x)
    assert torch.equal(layer.before, first_layer(loaded.net, x).before)  # without any of the defenses
    note = defenses_part(behind).note
    assert note.startswith("Defenses: gaussian(sigma=0.5) in front; bit_depth(bits=4) in front, added for this")
    assert note.endswith("; then lgs in front, of the model itself.")
    assert defenses_part(read_model("lisa_cnn")).note == "Defenses: none."


def test_what_attacks_saw_is_said():
    net = read_model("lisa_cnn").behind(ADDED).net
    assert adaptive_part(True, net).note.startswith("Attacks saw each transformation's exact values")
    assert adaptive_part(False, net).note.startswith("NOT adaptive")
    assert adaptive_part(True, read_model("lisa_cnn").net).transforms == []


def test_attacks_by_gradients_need_one():
    net = torch.nn.Sequential(JPEG(), Gaussian(), load_model("lisa_cnn"))
    with pytest.raises(ValueError, match=r"JPEG has no gradient of its own, which lavan would need; .* hard-label"):
        check_gradients(net, ["lavan"], ["hard-label"])
    check_gradients(net, ["hard-label"], ["hard-label"])


def test_a_zoo_model_says_what_it_is():
    loaded = read_model("lisa_cnn")
    assert (loaded.name, loaded.image_size, len(loaded.classes)) == ("lisa_cnn", (32, 32), 18)
    assert loaded.sha256 == loaded.net.card.sha256
    with pytest.raises(ValueError, match="only torchvision/NAME and timm/NAME take weights"):
        read_model("lisa_cnn", "x.safetensors")


@pytest.mark.parametrize("inside", [True, False], ids=["ours", "the library's"])
@pytest.mark.parametrize("name", ["torchvision/resnet18", "timm/resnet10t"])
def test_nets_of_libraries_take_a_file(tmp_path, name, inside):
    make = torchvision_net if name.startswith("torchvision") else timm_net
    with torch.random.fork_rng(devices=[]):
        net = make(name.partition("/")[2], None)
    state = net.state_dict() if inside else net.get_submodule("net").state_dict()
    # Converted weights often lack the count of batches.
    state = {k: v.contiguous() for k, v in state.items() if not k.endswith("num_batches_tracked")}
    save_file(state, tmp_path / "w.safetensors")
    loaded = read_model(name, str(tmp_path / "w.safetensors"))
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded.net(x), net.eval()(x))
    assert (loaded.classes, loaded.fit, loaded.name) == (None, "crop", name.partition("/")[2])
    assert min(loaded.image_size) >= 176
    state.pop(next(iter(state)))
    save_file(state | {"more": torch.zeros(1)}, tmp_path / "less.safetensors")
    with pytest.raises(ValueError, match=r"does not fit the net: missing .*unexpected more"):
        read_model(name, str(tmp_path / "less.safetensors"))


def test_a_library_net_needs_weights_and_known_arguments():
    with pytest.raises(ValueError, match="give its weights"):
        read_model("torchvision/resnet18")
    with pytest.raises(ValueError, match=r"unknown \['size'\]"):
        read_model("timm/resnet10t:size=3", "DEFAULT")


def test_a_function_in_the_users_own_file(tmp_path):
    (tmp_path / "helper.py").write_text("import torchvision\nmake = torchvision.models.resnet18\n")
    path = tmp_path / "nets.py"
    path.write_text(
        "from helper import make\n\ndef defended():\n    net = make(num_classes=3)\n    net.classes = ('a', 'b', 'c')\n"
        "    net.image_size = (64, 64)\n    return net\n\ndef wrong():\n    return 3\n"
    )
    loaded = read_model(f"{path}:defended")
    assert (loaded.classes, loaded.image_size, loaded.name) == (("a", "b", "c"), (64, 64), "nets:defended")
    assert not loaded.net.training
    with pytest.raises(ValueError, match="has no 'other'; it has make, defended, wrong"):
        read_model(f"{path}:other")
    with pytest.raises(TypeError, match=r"must return a torch.nn.Module, got int"):
        read_model(f"{path}:wrong")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_model(f"{tmp_path / 'none.py'}:f")


def test_functions_are_told_apart_by_their_answers():
    images = torch.rand(2, 3, 8, 8)
    one, same, other = (
        of_module(FunctionModel(lambda x, f=factor: f * x.flatten(1)[:, :4], images), "f") for factor in (1, 1, 2)
    )
    assert one.sha256 == same.sha256 != other.sha256
    assert torchvision.__name__  # the libraries stay importable under warnings as errors
