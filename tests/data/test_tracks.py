import random

import pytest

from blurnet.data.images import SPLITS
from blurnet.data.tracks import split_by_track


def table(tracks_per_class, rows_per_track=4):
    rows = [(f"{c}-{t}", c) for c, n in tracks_per_class.items() for t in range(n) for _ in range(rows_per_track)]
    return [r[0] for r in rows], [r[1] for r in rows]


@pytest.mark.parametrize("seed", range(5))
def test_no_track_is_in_two_splits_and_no_row_is_lost(seed):
    tracks, classes = table({"stop": 40, "yield": 11, "merge": 3})
    split = split_by_track(tracks, classes, seed=seed)
    assert sorted(row for rows in split.values() for row in rows) == list(range(len(tracks)))
    held = [{tracks[row] for row in split[name]} for name in SPLITS]
    assert sum(map(len, held)) == len(set.union(*held))


@pytest.mark.parametrize("seed", range(5))
def test_every_class_with_three_tracks_is_in_every_split(seed):
    tracks, classes = table({"stop": 40, "yield": 11, "merge": 3, "school": 4})
    for rows in split_by_track(tracks, classes, seed=seed).values():
        assert {classes[row] for row in rows} == {"stop", "yield", "merge", "school"}


def test_one_or_two_tracks():
    tracks, classes = table({"one": 1, "two": 2, "many": 10})
    split = split_by_track(tracks, classes)
    found = {name: {classes[row] for row in rows} for name, rows in split.items()}
    assert "one" in found["train"]
    assert "one" not in found["val"] | found["test"]
    assert "two" in found["train"] & found["test"]
    assert "two" not in found["val"]


def test_fractions_of_the_tracks():
    tracks, classes = table({"stop": 100})
    split = split_by_track(tracks, classes)
    assert [len({tracks[row] for row in split[name]}) for name in SPLITS] == [70, 10, 20]


def test_the_order_of_the_rows_does_not_matter():
    tracks, classes = table({"stop": 30, "yield": 12})
    order = list(range(len(tracks)))
    random.Random(0).shuffle(order)
    plain = split_by_track(tracks, classes)
    mixed = split_by_track([tracks[i] for i in order], [classes[i] for i in order])
    for name in SPLITS:
        assert {tracks[row] for row in plain[name]} == {tracks[order[row]] for row in mixed[name]}


def test_the_seed_matters():
    tracks, classes = table({"stop": 30})
    assert split_by_track(tracks, classes, seed=0) != split_by_track(tracks, classes, seed=1)


def test_a_track_that_shows_two_classes_stays_whole():
    tracks, classes = table({"stop": 20, "yield": 5})
    tracks += ["yield-0", "yield-1"]
    classes += ["stop", "stop"]
    split = split_by_track(tracks, classes)
    place = {tracks[row]: name for name, rows in split.items() for row in rows}
    assert all(tracks[row] in place and place[tracks[row]] == name for name, rows in split.items() for row in rows)


def test_no_test_share():
    tracks, classes = table({"stop": 20})
    split = split_by_track(tracks, classes, fractions=(0.9, 0.1, 0.0))
    assert not split["test"]
    assert len({tracks[row] for row in split["val"]}) == 2


@pytest.mark.parametrize(
    ("tracks", "classes", "fractions"),
    [([], [], (0.7, 0.1, 0.2)), (["a"], [], (0.7, 0.1, 0.2)), (["a"], ["b"], (0.7, 0.1, 0.3))],
)
def test_bad_tables_are_refused(tracks, classes, fractions):
    with pytest.raises(ValueError, match=r"at least one|sum to 1"):
        split_by_track(tracks, classes, fractions=fractions)
