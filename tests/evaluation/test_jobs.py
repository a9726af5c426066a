"""What there is to do: jobs, their parts, what is refused before any work."""

from blurnet.evaluation.threats import SquarePatch
from tests.evaluation.sample_jobs import jobs


def test_curves_vary_size_and_steps_where_an_attack_has_them():
    made = jobs("lavan,pgd", areas=[0.05, 0.1], steps=[3, 9])
    named = {job.name: job for job in made}
    assert list(named) == ["lavan", "lavan area 0.05", "lavan steps 9", "pgd", "pgd steps 9"]
    assert named["lavan"].at == (("area", 0.1), ("steps", 3))
    assert named["lavan"].point is None
    assert named["lavan area 0.05"].point == ("lavan", "area", 0.05)
    assert named["lavan area 0.05"].threat == SquarePatch(0.05)
    assert named["pgd steps 9"].attack.steps == 9
