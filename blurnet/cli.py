"""The commands. Each imports its part only when it runs: training needs no evaluation code, and the other way."""

from collections.abc import Sequence


def train_main(args: Sequence[str] | None = None) -> None:
    """``blurnet-train``, also ``python train.py``; see :mod:`blurnet.cli_train`."""
    from blurnet.cli_train import train_main as main

    main(args)


def evaluate_main(args: Sequence[str] | None = None) -> int:
    """``blurnet-evaluate``, also ``python evaluate.py``; see :mod:`blurnet.cli_evaluate`; returns the exit status."""
    from blurnet.cli_evaluate import evaluate_main as main

    return main(args)
