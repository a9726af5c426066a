"""Options of ``evaluate.py``: each said once, each explained."""

import dataclasses
from typing import Literal

import pytest

from blurnet.cli.options import CommandLine, config_of, parser


def test_every_option_is_explained():
    text = parser().format_help()
    for name in ("--model", "--steps", "--lam", "--restarts", "--seed", "--trainer.devices", "Exit status"):
        assert name in text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Toy(CommandLine):
    """One more setting.

    Args:
        shout: How loud the toy is.
    """

    shout: Literal["soft", "loud"] = "soft"


def test_an_option_is_said_once(tmp_path):
    """A field of the configuration is an option of the command line, in the help, a Python argument, in the report."""
    made = parser(Toy)
    text = made.format_help()
    assert "--shout {soft,loud}" in text
    assert "How loud the toy is." in text
    config = config_of(made.parse_args(["--model", "a", "--out", "b", "--shout", "loud"]), Toy)
    assert config == Toy(model="a", out="b", shout="loud", rp2=config.rp2)
    assert config.to_dict()["shout"] == "loud"  # what the report's settings are
    with pytest.raises(ValueError, match="--shout: expected one of"):
        Toy(model="a", out="b", shout="still")


def test_a_report_does_not_say_where_it_lies():
    one, other = (
        config_of(parser().parse_args(["--model", "lisa_cnn", "--out", out])).to_dict() for out in ("here", "/there")
    )
    assert one == other
