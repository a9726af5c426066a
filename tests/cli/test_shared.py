"""What the two command lines share."""

from blurnet.cli.shared import public_command


def test_the_command_in_a_card_keeps_private_paths_out() -> None:
    arguments = ["fit", "--config", "c.yaml", "--data.root", "/home/me/crops", "--resume", "--out=/tmp/x/run"]
    assert public_command("train.py", arguments) == "python train.py fit --config c.yaml --data.root crops --out=run"
