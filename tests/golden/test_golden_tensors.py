"""Outputs and gradients of transformations, layers, masks, balls and nets against those of the recording."""

import golden_store
import golden_tensors
import pytest


@pytest.fixture(scope="module")
def golden() -> golden_store.GoldenTensors:
    return golden_store.GoldenTensors("tensors")


@pytest.mark.parametrize("case", golden_tensors.CASES)
def test_tensors_are_what_they_were(case: str, golden: golden_store.GoldenTensors) -> None:
    if why := golden_store.excepted("tensors", case):
        pytest.skip(why)
    if not golden.of(case):
        pytest.skip("newer than the golden files")
    golden.check("tensors", case, golden_tensors.compute(case), exact=golden_store.same_machine())


def test_every_golden_tensor_has_a_case(golden: golden_store.GoldenTensors) -> None:
    assert {key.rpartition("/")[0] for key in golden.digests} <= set(golden_tensors.CASES)
