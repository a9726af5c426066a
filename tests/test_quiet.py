"""Libraries' noise is left out, everything else is not, and afterwards all is as before."""

import logging
import warnings

import pytest

from blurnet.quiet import _LOG, NOISE, quiet


class Heard(logging.Handler):
    """The messages that reach a logger's handlers."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture
def heard():
    logger, handler = logging.getLogger(_LOG), Heard()
    level, filters = logger.level, list(logger.filters)
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield handler.messages
    logger.removeHandler(handler)
    logger.setLevel(level)
    assert logger.filters == filters


@pytest.mark.parametrize("noise", NOISE)
def test_noise_is_left_out(noise):
    text = f"The first line\nsays: {noise}, and more"
    with quiet():
        warnings.warn(text, stacklevel=1)
    with pytest.warns(UserWarning, match="The first line"):
        warnings.warn(text, stacklevel=1)


def test_other_warnings_are_not():
    with pytest.warns(UserWarning, match="the loss is NaN"), quiet():
        warnings.warn("the loss is NaN", stacklevel=1)


def test_advertisements_go_and_the_log_on_request(heard):
    logger = logging.getLogger(_LOG)
    for log in (False, True):
        with quiet(log=log):
            logger.info("Tip: install litlogger")
            logger.info(f"GPU available: False, {log}")
    logger.info("Tip: install litlogger")
    assert heard == ["GPU available: False, False", "Tip: install litlogger"]


def test_an_error_leaves_no_filter(heard):
    before = list(warnings.filters)
    with pytest.raises(ZeroDivisionError), quiet(log=True):
        _ = 1 / 0
    assert warnings.filters == before
    logging.getLogger(_LOG).info("heard again")
    assert heard == ["heard again"]
