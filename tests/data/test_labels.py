"""Class names in the order of the outputs."""

import pytest

from blurnet.data.labels import GTSRB_CLASSES, LISA_CLASSES, LISA_OUTPUTS_18, label_names


def test_label_maps() -> None:
    assert len(LISA_CLASSES) == len(set(LISA_CLASSES)) == 17
    assert len(GTSRB_CLASSES) == len(set(GTSRB_CLASSES)) == 43
    assert (GTSRB_CLASSES[13], GTSRB_CLASSES[14]) == ("yield", "stop")
    assert (LISA_OUTPUTS_18[14], LISA_OUTPUTS_18[12]) == ("stop", "speedLimit45")
    assert label_names(17)[13] == label_names(18)[14] == "stop"
    with pytest.raises(ValueError, match=r"outputs: expected one of \[17, 18\], got 16"):
        label_names(16)  # type: ignore[arg-type]
