"""Train: ``python train.py fit --config configs/train/lisa_cnn-linf7.yaml --data.root DIR``."""

from blurnet.cli import train_main

if __name__ == "__main__":
    train_main()
