"""Defenses in words."""

from blurnet.zoo.describe import call, describe_defenses, phrases
from blurnet.zoo.spec import DefenseSpec


def test_a_name_with_its_arguments():
    assert call("jpeg", {}) == "jpeg"
    assert call("jpeg", {"quality": 30, "subsampling": "4:4:4"}) == "jpeg(quality=30, subsampling=4:4:4)"
    assert call("pgd", {"radius": 8 / 255, "stop": True}) == "pgd(radius=0.0313725, stop=True)"


def test_a_phrase_says_where_a_defense_stands():
    defenses = [
        DefenseSpec("lgs", args={"smoothing": 2.3}),
        DefenseSpec("total_variation", after="relu1", args={"alpha": 1e-4}),
        DefenseSpec("jpeg", before="conv1"),
    ]
    wanted = ["lgs(smoothing=2.3) in front", "total_variation(alpha=0.0001) after relu1", "jpeg before conv1"]
    assert phrases(defenses) == wanted
    assert describe_defenses(defenses) == "; ".join(wanted)
    assert describe_defenses([]) == "none"


def test_blocks_in_many_places_are_told_once():
    blocks = [
        DefenseSpec("feature_denoise", after=f"layer{i}", args={"channels": 64 * i, "operation": "dot"})
        for i in (1, 2, 3)
    ]
    mixed = [blocks[0], DefenseSpec("lgs"), *blocks[1:]]
    assert phrases(mixed) == ["feature_denoise(operation=dot) at 3 places", "lgs in front"]
    assert phrases(blocks[:1]) == ["feature_denoise(channels=64, operation=dot) after layer1"]
    other = DefenseSpec("feature_denoise", after="layer4", args={"channels": 8, "operation": "mean"})
    assert phrases([*blocks[:2], other])[1] == "feature_denoise(channels=8, operation=mean) after layer4"
