"""What the two command lines share."""

import sys

import pytest

from blurnet.cli.shared import one_line_errors, own_arguments, public_command


def test_the_command_in_a_card_keeps_private_paths_out() -> None:
    arguments = ["fit", "--config", "c.yaml", "--data.root", "/home/me/crops", "--resume", "--out=/tmp/x/run"]
    assert public_command("train.py", arguments) == "python train.py fit --config c.yaml --data.root crops --out=run"


def test_roots_behind_a_name_are_cut_too() -> None:
    arguments = ["--data", "lisa:/home/me/crops", "--victims=rp2:/srv/rp2 lisa", "--overwrite", "--note", "a b"]
    wanted = "python evaluate.py --data lisa:crops '--victims=rp2:rp2 lisa' --note 'a b'"
    assert public_command("evaluate.py", arguments) == wanted


def test_arguments_are_set_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "fit"])
    with own_arguments(["test", "--x"]):
        assert sys.argv == ["train.py", "test", "--x"]
    assert sys.argv == ["train.py", "fit"]
    with pytest.raises(ZeroDivisionError), own_arguments(["test", "--x"]):
        _ = 1 / 0
    assert sys.argv == ["train.py", "fit"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("no such model"), "no such model"),
        (KeyError("a 'quoted' key"), "a 'quoted' key"),
        (FileNotFoundError("crops"), "crops"),
        (ImportError("timm"), "timm"),
    ],
    ids=repr,
)
def test_guards_end_in_one_line_and_status_2(error: Exception, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped, one_line_errors("train.py"):
        raise error
    assert stopped.value.code == 2
    assert capsys.readouterr() == ("", f"train.py: error: {line}\n")


def test_bugs_keep_their_traceback() -> None:
    with pytest.raises(AssertionError, match="a bug"), one_line_errors("train.py"):
        raise AssertionError("a bug")
