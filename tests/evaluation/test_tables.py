"""Worst cases, curves, places and averages against counts by hand."""

from blurnet.evaluation.tables import Result, over_targets
from tests.evaluation.tiny_subject import (
    evaluation,
    run,
    shared_jobs,
)


def test_untargeted_has_no_targeted_rate(tmp_path):
    jobs = shared_jobs((None,))
    table = over_targets([Result(jobs[0], run(evaluation(tmp_path, jobs))[0])])
    assert (table.average.targeted, table.per_target[0].targeted, table.per_target[0].name) == (
        None,
        None,
        "untargeted",
    )
