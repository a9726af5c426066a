import pytest

from blurnet.evaluation.plan import make_trainer


@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
def test_a_precision_that_rounds_the_images_is_refused(tmp_path, precision):
    with pytest.raises(ValueError, match=f"{precision}.*rounds the images too; take .*-mixed"):
        make_trainer(tmp_path, device="cpu", precision=precision)
