"""How a long run tells how far it is: a bar, a function of the caller, or silence."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Told now and then: steps done, steps in all, success so far in [0, 1].
Progress = Callable[[int, int, float], None]


@contextmanager
def reporting(progress: bool | Progress, steps: int, name: str) -> Iterator[Progress | None]:
    """The function to tell: the caller's own, one that moves a bar called ``name`` (True), or None (False)."""
    if not isinstance(progress, bool):
        yield progress
        return
    if not progress:
        yield None
        return
    from tqdm import tqdm

    with tqdm(total=steps, desc=name, unit="step") as bar:

        def show(step: int, _: int, success: float) -> None:
            bar.set_postfix(success=f"{success:.1%}", refresh=False)
            bar.update(step - bar.n)

        yield show
