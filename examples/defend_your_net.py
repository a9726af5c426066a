"""Put defenses into a net of your own, and see what they are worth against an attacker who knows them.

python examples/defend_your_net.py                                  a ResNet-18 trained here on rendered signs
python examples/defend_your_net.py --images 40 --budget standard    a number to quote
"""

import argparse
import copy

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import blurnet
from blurnet.data.synthetic.dataset import SyntheticSigns


def defended(net: nn.Module) -> nn.Module:
    """A net with defenses, which is all there is to it: a layer behind a module by its name, images smoothed first."""
    net = blurnet.insert_after(net, "conv1", blurnet.LearnedLowPass(64, kernel_size=3, linf=0.1))
    return blurnet.defend(net, blurnet.Median(3), blurnet.JPEG(quality=75))


def main() -> None:
    """Train a net, defend it, attack both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=2550, help="rendered signs to train on")
    parser.add_argument("--epochs", type=int, default=6, help="passes over them")
    parser.add_argument("--images", type=int, default=16, help="signs to attack")
    parser.add_argument("--budget", default="quick", help="of AutoPatch: quick, standard or full")
    arguments = parser.parse_args()
    torch.manual_seed(0)

    plain = torchvision.models.resnet18(num_classes=18)  # yours: images in [0, 1] to logits
    images, labels = SyntheticSigns("train", arguments.train).tensors()
    print(f"training a ResNet-18 on {len(images)} rendered signs", flush=True)
    fit(plain, images, labels, arguments.epochs)

    robust = defended(copy.deepcopy(plain))
    print("training it on, with a learned low-pass behind conv1 and transformations in front", flush=True)
    fit(robust, images, labels, max(1, arguments.epochs // 2))

    images, labels = SyntheticSigns("test", arguments.images).tensors()
    attack = blurnet.AutoPatch(area=0.05, budget=arguments.budget)
    print(f"{attack} on {len(images)} signs", flush=True)
    transferred = attack(plain, images, labels)
    print(f"\n{'answered correctly':20} {'plain':>8} {'defended':>9}")
    for what, attacked in (
        ("clean", lambda net: images),
        ("patch made on plain", lambda net: transferred),
        ("patch made on itself", lambda net: attack(blurnet.adaptive(net), images, labels)),
    ):
        shares = [correct(net, attacked(net), labels) for net in (plain, robust)]
        print(f"{what:20} {shares[0]:8.1%} {shares[1]:9.1%}", flush=True)
    print("\nThe last line counts: an attacker may know the defenses, and adaptive() gives gradients through them.")


def fit(net: nn.Module, images: Tensor, labels: Tensor, epochs: int) -> None:
    """Your own training loop; the layers' penalties are added to its loss. Transformations of the input see images."""
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=epochs * -(-len(images) // 64))
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(64):
            loss = F.cross_entropy(net(images[rows]), labels[rows]) + sum(blurnet.penalties(net).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    net.eval()


@torch.no_grad()
def correct(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of images that the net answers correctly."""
    return float((net(images).argmax(1) == labels).float().mean())


if __name__ == "__main__":
    main()
