"""Leave out what libraries say on every run and nobody can act on."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

NOISE = (
    "does not have many workers",  # the data is in memory or small
    "not supported by the model summary",  # half precision: only its estimate of the size is off
    "is smaller than the logging interval",  # epochs are logged, not steps
    "GPU available but not used",
    "treespec, LeafSpec",  # Lightning 2.6 on torch 2.15
    "JsonargparseDeprecationWarning",  # Lightning 2.6 on jsonargparse 4.53
    "instantiate_classes",
    "exists and is not empty",  # resuming
    "callbacks used to create the checkpoint",  # testing needs none of them
    "in eval mode at the start of training",  # frozen BatchNorm, where it is asked for
)

#: Where Lightning says which devices it found, and advertises.
_LOG = "pytorch_lightning.utilities.rank_zero"


@contextmanager
def quiet(*, log: bool = False) -> Iterator[None]:
    """Leave out the warnings of :data:`NOISE`, Lightning's advertisements, and with ``log`` all that it reports."""
    logger = logging.getLogger(_LOG)

    def wanted(record: logging.LogRecord) -> bool:
        return not log and "litlogger" not in record.getMessage()

    logger.addFilter(wanted)
    try:
        with warnings.catch_warnings():
            for message in NOISE:
                warnings.filterwarnings("ignore", f"(?s).*{message}")
            yield
    finally:
        logger.removeFilter(wanted)
