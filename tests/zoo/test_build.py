"""Every name of the tables builds; everything else is refused and listed."""

import pytest
import torch
import torchvision

from blurnet.files import save_weights
from blurnet.layers.lowpass import LearnedLowPass
from blurnet.nets.lisa_cnn import LisaCNN
from blurnet.zoo.build import CERTIFIED, LAYERS, LIBRARIES, NETS, TRANSFORMS, build, put_in_front
from blurnet.zoo.spec import DefenseSpec, ModelSpec

CLASSES = [f"class {i}" for i in range(18)]
ARGS = {"total_variation": {"alpha": 1e-4}, "tikhonov": {"alpha": 1e-4, "operator": "pinv"}}
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def lisa(*defenses: DefenseSpec, **fields) -> ModelSpec:
    return ModelSpec(classes=CLASSES, defenses=list(defenses), **fields)


@pytest.mark.parametrize("net", sorted(NETS))
def test_every_net_builds(net):
    assert build(ModelSpec(net=net, classes=CLASSES)).eval()(IMAGES).shape == (2, 18)


PLACES = [{}, {"after": "relu1"}, {"before": "conv2"}]


@pytest.mark.parametrize(
    ("name", "place"),
    [(n, p) for n in sorted({*LAYERS, *TRANSFORMS}) for p in (PLACES if n in LAYERS else PLACES[:1])],
    ids=str,
)
def test_every_defense_builds_everywhere(name, place):
    net = build(lisa(DefenseSpec(name, args=ARGS.get(name, {}), **place)))
    logits = net(IMAGES)
    assert logits.shape == (2, 18)
    logits.sum().backward()


FIRST = {"double_masking": {"area": 0.05, "masks": 3}, "derandomized": {"patch": [3, 2], "width": 6}}


@pytest.mark.parametrize("name", sorted(CERTIFIED))
def test_a_certified_defense_holds_everything(name):
    """Transformations and layers are its model's; the masks stand in front."""
    inner = [DefenseSpec("median"), DefenseSpec("fixed_low_pass", after="relu1")]
    net = build(lisa(DefenseSpec(name, args=FIRST[name]), *inner)).eval()
    assert isinstance(net, CERTIFIED[name])
    assert [child for child, _ in net.model.named_children()] == ["median", "net"]
    certificate = net.certify(IMAGES, torch.tensor([0, 1]))
    assert torch.equal(certificate.prediction, net(IMAGES).argmax(1))


@pytest.mark.parametrize(
    ("defenses", "says"),
    [
        ([DefenseSpec("lgs"), DefenseSpec("double_masking", args={"area": 0.05})], "must be the first defense"),
        ([DefenseSpec("double_masking", args={"area": 0.05})] * 2, "the only one of its kind"),
        ([DefenseSpec("double_masking", after="relu1", args={"area": 0.05})], "around the whole net"),
        ([DefenseSpec("double_masking")], "give area, patch or mask_set"),
        ([DefenseSpec("double_masking", args={"area": 0})], "area: expected a share"),
        ([DefenseSpec("double_masking", args={"size": 1})], "allowed are .*'area', 'patch', 'masks'"),
    ],
)
def test_certified_defenses_elsewhere_are_refused(defenses, says):
    with pytest.raises(ValueError, match=says):
        build(lisa(*defenses))
    with pytest.raises(ValueError, match=says):
        put_in_front(build(lisa()), defenses)


def test_nothing_stands_in_front_of_a_certified_defense():
    certified = put_in_front(build(lisa()).eval(), [DefenseSpec("double_masking", args={"area": 0.05})])
    with pytest.raises(ValueError, match="'jpeg' in front of DoubleMasking would spread a patch beyond its masks"):
        put_in_front(certified, [DefenseSpec("jpeg")])


def test_a_certified_net_is_not_trained_through():
    net = build(lisa(DefenseSpec("double_masking", args={"area": 0.05})))
    with pytest.raises(ValueError, match="train the net without the defense"):
        net(IMAGES)


def test_plain_spec_is_the_plain_net():
    assert isinstance(build(lisa()), LisaCNN)


@pytest.mark.parametrize(
    ("place", "channels"), [({}, 3), ({"after": "relu1"}, 64), ({"after": "conv2"}, 128), ({"before": "conv2"}, 64)]
)
def test_channels_come_from_the_place(place, channels):
    net = build(lisa(DefenseSpec("learned_low_pass", args={"kernel_size": 5}, **place)))
    (layer,) = [m for m in net.modules() if isinstance(m, LearnedLowPass)]
    assert layer.channels == channels


def test_several_at_one_place_keep_their_order():
    net = build(
        lisa(
            DefenseSpec("learned_low_pass", after="relu1"),
            DefenseSpec("fixed_low_pass", args={"kernel_size": 5}),
            DefenseSpec("total_variation", after="relu1", args={"alpha": 1e-4}),
            DefenseSpec("fixed_low_pass"),
        )
    )
    assert [name for name, _ in net.named_children()] == ["fixed_low_pass", "fixed_low_pass_2", "net"]
    assert list(dict(net.net.relu1.named_children())) == ["base", "LearnedLowPass", "TotalVariation"]


def test_nested_places_do_not_hide_each_other():
    spec = ModelSpec(
        net="gtsrb_cnn",
        classes=CLASSES,
        defenses=[DefenseSpec("learned_low_pass", after="stage1"), DefenseSpec("fixed_low_pass", after="stage1.0")],
    )
    assert build(spec).eval()(IMAGES).shape == (2, 18)


def test_building_leaves_the_module_in_training_mode():
    net = build(lisa(DefenseSpec("learned_low_pass", after="relu1")))
    assert all(module.training for module in net.modules())


@pytest.mark.parametrize(
    ("spec", "error", "says"),
    [
        (ModelSpec(), ValueError, "no classes"),
        (lisa(net="os.system"), ValueError, "there are: gtsrb_cnn, lisa_cnn, resnet_32, torchvision/"),
        (lisa(net="torchvision/no_such_net"), ValueError, "resnet18"),
        (lisa(net="timm/local-dir:/tmp"), ValueError, "unknown net"),
        (lisa(net="timm/../resnet18"), ValueError, "unknown net"),
        (lisa(net_args={"width": 1}), ValueError, "allowed are .*dropout"),
        (lisa(net_args={"classes": 3}), ValueError, "unknown .*classes"),
        (lisa(net_args={"dropout": "0.5"}), TypeError, "expected float, got '0.5'"),
        (lisa(net="timm/resnet18", net_args={"checkpoint_path": "x"}), ValueError, "allowed are .*pad_type"),
        (lisa(DefenseSpec("lgs", after="conv1")), ValueError, "takes images"),
        (lisa(DefenseSpec("blur")), ValueError, "there are: .*fixed_low_pass"),
        (lisa(DefenseSpec("fixed_low_pass", args={"size": 3})), ValueError, "allowed are .*kernel_size"),
        (lisa(DefenseSpec("fixed_low_pass", args={"kernel_size": 3.0})), TypeError, "expected int"),
        (lisa(DefenseSpec("fixed_low_pass", args={"kernel_size": 4})), ValueError, "odd"),
        (lisa(DefenseSpec("fixed_low_pass", args={"kernel": "flat"})), TypeError, "box"),
        (lisa(DefenseSpec("total_variation")), ValueError, "missing .*alpha"),
        (lisa(DefenseSpec("fixed_low_pass", after="conv9")), KeyError, "conv3"),
        (lisa(DefenseSpec("learned_low_pass", after="conv9")), KeyError, "conv3"),
    ],
)
def test_what_does_not_exist_is_refused(spec, error, says):
    with pytest.raises(error, match=says):
        build(spec)


def test_starting_weights_come_before_the_defenses(tmp_path):
    plain = build(lisa())
    save_weights(plain, tmp_path / "plain.safetensors")
    net = build(
        lisa(DefenseSpec("total_variation", after="relu1", args={"alpha": 1e-4})), tmp_path / "plain.safetensors"
    )
    torch.testing.assert_close(net(IMAGES), plain(IMAGES), rtol=0, atol=0)
    with pytest.raises(ValueError, match="DEFAULT"):
        build(lisa(), "DEFAULT")


def test_library_nets_keep_their_own_layer_names():
    spec = lisa(DefenseSpec("learned_low_pass", after="net.features.0"), net="torchvision/squeezenet1_1")
    net = build(spec).eval()
    assert net(torch.rand(1, 3, 64, 64)).shape == (1, 18)
    assert isinstance(net.net, torchvision.models.SqueezeNet)


def test_timm_nets_take_their_padding():
    pytest.importorskip("timm")
    net = build(lisa(net="timm/mobilenetv2_050", net_args={"pad_type": "same"})).eval()
    assert net(torch.rand(1, 3, 64, 64)).shape == (1, 18)


def test_library_weights_must_have_the_classes_of_the_spec(monkeypatch):
    asked: list[tuple[str, int | None, str]] = []

    def pretrained(name, classes, weights):
        asked.append((name, classes, weights))
        return LisaCNN(18)

    monkeypatch.setitem(LIBRARIES, "torchvision", pretrained)
    monkeypatch.setattr("blurnet.zoo.build.image_size", lambda *_: (32, 32))
    build(lisa(net="torchvision/any"), "DEFAULT")
    assert asked == [("any", None, "DEFAULT")]
    with pytest.raises(ValueError, match="'DEFAULT' have 18 outputs, the spec 2 classes"):
        build(ModelSpec(net="torchvision/any", classes=["a", "b"]), "DEFAULT")


def test_the_authors_weights_start_a_defended_net(shared_data):
    spec = lisa(DefenseSpec("learned_low_pass", after="relu1", args={"kernel_size": 5, "linf": 0.1}))
    weights = shared_data / "rp2-lisa" / "lisa_cnn.safetensors"
    plain, net = build(lisa(), weights), build(spec, weights)
    assert torch.equal(net.conv1.weight, plain.conv1.weight)
    assert torch.equal(net.fc.weight, plain.fc.weight)
