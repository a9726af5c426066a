"""``python -m benchmarks.attacks``: PGD beside a bare loop and beside foolbox, ART and torchattacks, in one run.

All entries attack the same trained net and batch with the same budget, steps and step size, each from its own random
start; every figure is the median of interleaved rounds. Peers that are not installed are left out; the extra
``peers`` names them, best in an environment of its own, since they hold back other packages.
"""

import argparse
import importlib.util
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.timing import medians
from blurnet.attacks.ball.pgd import PGD
from blurnet.attacks.base import Attack
from blurnet.balls import Ball
from blurnet.data.synthetic.dataset import SyntheticSigns
from blurnet.zoo.models import load_model

Entry = Callable[[], Tensor]

RADIUS, STEPS = 8 / 255, 40
STEP = 2.5 * RADIUS / STEPS


def bare_pgd(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Forward, backward, sign step, clip: the least a PGD can do. It keeps the last point and stops nowhere."""
    x = (images + torch.empty_like(images).uniform_(-RADIUS, RADIUS)).clamp_(0, 1)
    for _ in range(STEPS):
        x.requires_grad_()
        loss = F.cross_entropy(net(x), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x)
        x = x.detach() + STEP * gradient.sign()
        x = images + (x - images).clamp_(-RADIUS, RADIUS)
        x = x.clamp_(0, 1)
    return x


def foolbox_pgd(net: nn.Module, images: Tensor, labels: Tensor) -> Entry:
    """Foolbox's PGD in linf."""
    import foolbox

    model = foolbox.PyTorchModel(net, bounds=(0, 1), device=images.device)
    attack = foolbox.attacks.LinfPGD(steps=STEPS, abs_stepsize=STEP)
    return lambda: attack(model, images, labels, epsilons=RADIUS)[1]


def art_pgd(net: nn.Module, images: Tensor, labels: Tensor) -> Entry:
    """ART's PGD in linf, batched as a whole."""
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    kind = "gpu" if images.is_cuda else "cpu"
    shape, loss = tuple(images.shape[1:]), nn.CrossEntropyLoss()
    model = PyTorchClassifier(net, loss, shape, nb_classes=18, clip_values=(0, 1), device_type=kind)
    settings = {"eps": RADIUS, "eps_step": STEP, "max_iter": STEPS, "num_random_init": 1, "verbose": False}
    attack = ProjectedGradientDescent(model, batch_size=len(images), **settings)
    x, y = images.cpu().numpy(), labels.cpu().numpy()
    return lambda: torch.from_numpy(attack.generate(x, y)).to(images.device)


def torchattacks_pgd(net: nn.Module, images: Tensor, labels: Tensor) -> Entry:
    """The PGD of torchattacks."""
    import torchattacks

    attack = torchattacks.PGD(net, eps=RADIUS, alpha=STEP, steps=STEPS)
    return lambda: attack(images, labels)


PEERS = {"foolbox": foolbox_pgd, "art": art_pgd, "torchattacks": torchattacks_pgd}


def problem(batch: int, device: str = "cpu", name: str = "lisa_cnn-synthetic") -> tuple[nn.Module, Tensor, Tensor]:
    """A shipped net in evaluation mode, frozen, with rendered signs that it answers correctly, and their labels."""
    net = load_model(name, device).requires_grad_(False)
    images, labels = (t.to(device) for t in SyntheticSigns("test", 4 * batch).tensors(progress=False))
    with torch.no_grad():
        right = net(images).argmax(dim=1) == labels
    return net, images[right][:batch].contiguous(), labels[right][:batch]


def entries(net: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Entry]:
    """Ours with and without early stop, the bare loop, and whichever peers are installed."""

    def ours(stop: bool) -> Entry:
        attack: Attack = PGD(Ball("linf", RADIUS), STEPS, stop=stop)
        return lambda: attack(net, images, labels)

    table = {
        "bare loop": lambda: bare_pgd(net, images, labels),
        "blurnet": ours(stop=False),
        "blurnet, stop": ours(stop=True),
    }
    for name, make in PEERS.items():
        if importlib.util.find_spec(name) is not None:
            table[name] = make(net, images, labels)
    return table


def pgd_step(rounds: int) -> tuple[str, float, float, float]:
    """A step of PGD without early stop, beside the bare loop: the row of ``benchmarks.run``."""
    both = entries(*problem(128))
    times = medians({name: both[name] for name in ("bare loop", "blurnet")}, rounds, "PGD")
    return "PGD-40 step, linf, batch 128", times["blurnet"] / STEPS, times["bare loop"] / STEPS, 1.05


def main() -> None:
    """Parse the command line, time every entry, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="interleaved repeats; the median counts")
    parser.add_argument("--batch", type=int, default=128, help="images attacked at once")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of torch")
    parser.add_argument("--device", default="cpu", help="where the net and the images are")
    parser.add_argument("--model", default="lisa_cnn-synthetic", help="a shipped model")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    net, images, labels = problem(arguments.batch, arguments.device, arguments.model)
    table = entries(net, images, labels)
    wait = torch.cuda.synchronize if images.is_cuda else (lambda: None)
    times = medians({name: (lambda run=run: (run(), wait())) for name, run in table.items()}, arguments.rounds, "PGD")
    print(f"torch {torch.__version__}, {arguments.threads} threads, {arguments.device}, {arguments.model}")
    print(f"PGD-{STEPS}, linf 8/255, {len(images)} images, median of {arguments.rounds} interleaved rounds")
    print("\n| attack        | seconds | to bare | success |\n|---------------|--------:|--------:|--------:|")
    for name, run in table.items():
        adversarial = run()
        with torch.no_grad():
            success = (net(adversarial).argmax(dim=1) != labels).float().mean()
        print(f"| {name:<13} | {times[name]:7.3f} | {times[name] / times['bare loop']:7.3f} | {success:7.1%} |")


if __name__ == "__main__":
    main()
