"""``python -m benchmarks.deep_image_prior``: images side by side against one at a time, and against a bare loop.

The bare loop is what one writes in plain PyTorch: the same net, fresh noise on its input, the mean squared error, Adam;
one image after another, with all of torch's threads, or with one where that is faster. On a GPU the nets of all images
run as one. Both sides fit the same images for the same iterations.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.pictures import pictures
from benchmarks.timing import finished, medians
from blurnet.transforms.deep_image_prior.fit import fit_prior
from blurnet.transforms.deep_image_prior.nets import NETS, PriorNets
from blurnet.transforms.deep_image_prior.settings import DeepImagePriorSettings
from blurnet.transforms.deep_image_prior.stopping import Fixed


def bare(images: Tensor, settings: DeepImagePriorSettings) -> Tensor:
    """The last output for each image (N, C, H, W), one at a time."""
    found = []
    layout = torch.channels_last if images.is_cpu else torch.contiguous_format
    for image in images.split(1):
        shape = settings.shape.fitted(*image.shape[-2:])
        net = PriorNets(shape, 3, 1, torch.Generator().manual_seed(0), image).to(memory_format=layout)
        target = image.contiguous(memory_format=layout)
        noise = 0.1 * torch.rand(1, shape.inputs, *image.shape[-2:], device=image.device)
        noise = noise.contiguous(memory_format=layout)
        adam = torch.optim.Adam(net.parameters(), settings.lr, fused=True)
        average = target
        for iteration in range(settings.iterations):
            drawn = net(noise + settings.input_noise * torch.randn_like(noise))
            loss = F.mse_loss(drawn, target)
            adam.zero_grad()
            loss.backward()
            adam.step()
            drawn = drawn.detach()
            average = average.lerp(drawn, 1 - settings.average) if iteration else drawn
        found.append(average)
    return torch.cat(found)


def alone(images: Tensor, settings: DeepImagePriorSettings) -> None:
    """Ours, one image at a time."""
    for image in images.split(1):
        fit_prior(image, settings, [Fixed()])


def main() -> None:
    """Parse the command line, run all entries, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", choices=tuple(NETS), default="small", help="shape of the nets")
    parser.add_argument("--size", type=int, default=224, help="side of the images, which the net must be able to draw")
    parser.add_argument("--images", type=int, default=4, help="images")
    parser.add_argument("--iterations", type=int, default=6, help="of each run")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved repeats; the median counts")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of torch")
    parser.add_argument("--device", default="cpu", help="where the images are")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = DeepImagePriorSettings(arguments.iterations, net=arguments.net)
    x = pictures(arguments.images, arguments.size, arguments.device)

    def one_thread() -> None:
        torch.set_num_threads(1)
        bare(x, settings)
        torch.set_num_threads(arguments.threads)

    entries = {
        "side by side": lambda: fit_prior(x, settings, [Fixed()]),
        "one at a time": lambda: alone(x, settings),
        "bare loop": lambda: bare(x, settings),
        "bare loop, one thread": one_thread,
    }
    times = medians({key: finished(run, x) for key, run in entries.items()}, arguments.rounds, "deep image prior")
    each = {key: 1e3 * seconds / len(x) / arguments.iterations for key, seconds in times.items()}
    print(f"{arguments.net!r}, {arguments.images} images of {arguments.size} px, {arguments.device}")
    print("\n| entry | ms an image and iteration |\n|---|---:|")
    for key, value in each.items():
        print(f"| {key} | {value:.2f} |")
    fastest = min(each["bare loop"], each["bare loop, one thread"])
    limit = 1 / 1.2 if arguments.device == "cpu" else 1 / 10
    print(f"\nside by side / one at a time, ours: {each['side by side'] / each['one at a time']:.3f}")
    print(f"side by side / the faster bare loop: {each['side by side'] / fastest:.3f} (at most {limit:.2f})")
    one = each["bare loop, one thread"] if arguments.device == "cpu" else each["bare loop"]
    print(f"one at a time / bare loop, as many threads: {each['one at a time'] / one:.3f} (at most 1.10)")


if __name__ == "__main__":
    main()
