"""Nets for other runtimes: torch.export programs and ONNX files, normalisation and defenses inside.

Whatever comes out was held against the net it was made of, on images of noise, of smooth shapes and of one value.

Every layer exports, and of the transformations LGS, Gaussian, Median, Bilateral, BitDepth and Wavelet; NonLocalMeans as
a program, while its ONNX file, of thousands of operations, takes very long to write. These cannot, and a net that holds
one is refused by name:

- JPEG: its codec is a library outside of torch.
- ClassInpainting: it looks into the net, and fills boxes whose places depend on the image.
- DigitalWatermark: it takes gradients of the net, and fills a region whose size depends on the image.
- DeepImagePrior: it trains a net for every image.
- TotalVariationMin: how many iterations it takes depends on the image.
- DoubleMasking, MinorityReports and Derandomized: which masked views they look at depends on the answers.
- RandomResizePad, and TotalVariationMin with ``drop``: a file has no new random numbers for every call.

Penalties (TotalVariation, Tikhonov, L-infinity) leave nothing in the file: they act while training only.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from blurnet import __version__
from blurnet.certified.derandomized import Derandomized
from blurnet.certified.double_masking import DoubleMasking
from blurnet.certified.minority import MinorityReports
from blurnet.checks import check_writable
from blurnet.files import write_atomic
from blurnet.modes import resting
from blurnet.nets.image_size import image_size
from blurnet.nets.vision import device_of
from blurnet.transforms.base import Transform
from blurnet.transforms.class_inpainting.class_inpainting import ClassInpainting
from blurnet.transforms.deep_image_prior.deep_image_prior import DeepImagePrior
from blurnet.transforms.jpeg.jpeg import JPEG
from blurnet.transforms.total_variation import TotalVariationMin
from blurnet.transforms.watermark.watermark import DigitalWatermark
from blurnet.zoo.decompositions import DECOMPOSITIONS

#: The version of ONNX's operators that files are written in; runtimes since 2022 read it.
OPSET = 18

#: How far logits may be from the net's, as a share of the largest one (of 1 where all are smaller).
TOLERANCE = 1e-4

_VIEWS = "which masked views it looks at depends on their answers, and they come in batches"

#: Defenses that cannot leave Python, and why.
REFUSED: dict[type[nn.Module], str] = {
    DoubleMasking: _VIEWS,
    Derandomized: _VIEWS,
    MinorityReports: _VIEWS,
    JPEG: "its codec is a library outside of torch",
    ClassInpainting: "it looks into the net and fills boxes whose places depend on the image",
    DigitalWatermark: "it takes gradients of the net and fills a region whose size depends on the image",
    DeepImagePrior: "it trains a net for every image",
    TotalVariationMin: "how many iterations it takes depends on the image",
}


def export_program(
    net: nn.Module,
    batch: int | None = None,
    *,
    size: int | tuple[int, int] | None = None,
    tolerance: float = TOLERANCE,
) -> ExportedProgram:
    """The net in evaluation mode as a program of torch.export, for ``torch.export.save``, AOTInductor or ExecuTorch.

    Args:
        net: images in [0, 1] to logits, normalisation and defenses inside. It is left as it is.
        batch: images a call. None: any number.
        size: of the images in pixels, (height, width) or one number. None: the net's own, where it states one: those
            of this package, of timm, and from ``load_model``.
        tolerance: how far the logits may be from the net's, as a share of the largest one (of 1 if that is smaller).

    Returns:
        A program from RGB (N, 3, H, W) float32 in [0, 1] to logits (N, classes). It does not check its input.

    Raises:
        ValueError: a defense that cannot be exported (see above; the message names it), no size, or no batch.
        RuntimeError: the program's logits differ from the net's. Others: torch cannot export the net.
    """
    net = getattr(net, "_orig_mod", net)
    _check(net, batch)
    height, width = _size(net, size)
    with resting(net):
        program = _exported(net, batch, height, width)
        _compare("the exported program", program.module(), net, _test_images(net, batch, height, width), tolerance)
    return program


def export_onnx(
    net: nn.Module,
    path: str | os.PathLike[str],
    batch: int | None = None,
    *,
    size: int | tuple[int, int] | None = None,
    tolerance: float = TOLERANCE,
) -> Path:
    """Write the net in evaluation mode as an ONNX file (extra ``blurnet[onnx]``), whole or not at all.

    The file has the input "images", RGB (N, 3, H, W) float32 in [0, 1], and the output "logits" (N, classes), in
    operator set 18; its metadata has what is known of "classes" (a JSON list), "name" and "sha256". Before it is
    written, onnx's checker passes it and ONNX Runtime gives the net's logits.

    Args:
        net: as in :func:`export_program`, float32 and on the CPU, below 2 GB.
        path: ends in .onnx; a file there is replaced.
        batch: images a call. None: any number.
        size: as in :func:`export_program`.
        tolerance: as in :func:`export_program`.

    Returns:
        The path.

    Raises:
        ValueError: as :func:`export_program`; another suffix, or a net elsewhere than on the CPU. ImportError: the
        extra is not installed. PermissionError, NotADirectoryError: the folder cannot be written. RuntimeError:
        ONNX Runtime's logits differ from the net's. Others: torch cannot export the net.
    """
    file, net = Path(path), getattr(net, "_orig_mod", net)
    if file.suffix != ".onnx":
        raise ValueError(f"ONNX file: expected the suffix .onnx, got {file.name!r}")
    _check(net, batch)
    if (device := device_of(net)).type != "cpu":
        raise ValueError(f"export_onnx: expected a net on the CPU, which ONNX Runtime is compared with, got {device}")
    height, width = _size(net, size)
    onnx, runtime = _onnx_libraries()
    check_writable(file.absolute().parent, "folder of the ONNX file")
    with resting(net):
        proto = _converted(_exported(net, batch, height, width), batch)
        _describe(proto, net)
        onnx.checker.check_model(proto, full_check=True)
        content: bytes = proto.SerializeToString()
        _compare("ONNX Runtime", _session(runtime, content), net, _test_images(net, batch, height, width), tolerance)
    write_atomic(file, content)
    return file


def _check(net: nn.Module, batch: int | None) -> None:
    if batch is not None and (isinstance(batch, bool) or not isinstance(batch, int) or batch < 1):
        raise ValueError(f"export batch: expected a positive number of images, or None for any, got {batch!r}")
    for name, module in net.named_modules():
        draws = isinstance(module, Transform) and module.random
        drawing = "it draws new random numbers at every call" if draws else None
        why = next((reason for kind, reason in REFUSED.items() if isinstance(module, kind)), drawing)
        if why:
            where = f" ({name})" if name else ""
            advice = "export the net without it, and run the defense in front of it in Python"
            raise ValueError(f"{type(module).__name__}{where} cannot be exported: {why}; {advice}")


def _size(net: nn.Module, size: int | tuple[int, int] | None) -> tuple[int, int]:
    """(H, W): what was asked for, or what the net says of itself."""
    if size is not None:
        return (size, size) if isinstance(size, int) else size
    if (own := image_size(net)) is not None:
        return own
    raise ValueError(f"{type(net).__name__} does not say the size of its images: give size=(height, width) in pixels")


def _exported(net: nn.Module, batch: int | None, height: int, width: int) -> ExportedProgram:
    # An example of one image would fix the number: torch takes 1 for a constant.
    images = torch.full((batch or 2, 3, height, width), 0.5, device=device_of(net))
    shapes = None if batch else ({0: Dim("batch")},)
    return torch.export.export(net, (images,), dynamic_shapes=shapes, strict=False)


def _converted(program: ExportedProgram, batch: int | None) -> Any:
    """The ONNX model of a program, without the traces of this machine's files that the exporter leaves."""
    program = program.run_decompositions(DECOMPOSITIONS)
    made = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=OPSET,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=None if batch else ({0: "batch"},),
        verbose=False,
    )
    if made is None:
        raise RuntimeError("torch.onnx.export gave nothing")
    proto: Any = made.model_proto
    for part in (*proto.graph.node, *proto.graph.value_info, *proto.functions):
        del part.metadata_props[:]
    del proto.graph.metadata_props[:]
    return proto


def _describe(proto: Any, net: nn.Module) -> None:
    """What a user of the file should know, in its metadata."""
    card = vars(net).get("card")
    told = {"blurnet": __version__, "input": "RGB in [0, 1]"}
    if classes := vars(net).get("classes"):
        told["classes"] = json.dumps(list(classes))
    if card is not None:
        told |= {"name": card.name, "license": card.license, "sha256": card.sha256}
    proto.producer_name = "blurnet"
    for key, value in told.items():
        proto.metadata_props.add(key=key, value=value)


def _onnx_libraries() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError as error:
        raise ImportError("export_onnx needs the extra: pip install 'blurnet[onnx]'") from error
    return onnx, onnxruntime


def _session(runtime: Any, content: bytes) -> Callable[[Tensor], Tensor]:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def _test_images(net: nn.Module, batch: int | None, height: int, width: int) -> list[Tensor]:
    """Six images in batches: noise, smooth shapes with noise in a corner, one value; so that gates open and close."""
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(6, 3, height, width, generator=draw)
    smooth = torch.rand(3, 3, 4, 4, generator=draw)
    smooth = nn.functional.interpolate(smooth, (height, width), mode="bilinear")
    corner = (..., slice(height // 2, None), slice(width // 2, None))
    smooth[corner] = images[2:5][corner]
    images[2:5] = smooth
    images[5] = 0.29  # not half-way between two steps of a bit depth, where rounding errors decide
    images = images.to(device_of(net))
    if batch is None:
        return [images[2:3], torch.cat((images[:2], images[3:]))]
    places = torch.arange(-(-len(images) // batch) * batch) % len(images)  # begins again to fill the last batch
    return [images[places[start : start + batch]] for start in range(0, len(places), batch)]


def _compare(
    what: str, run: Callable[[Tensor], Tensor], net: nn.Module, batches: list[Tensor], tolerance: float
) -> None:
    for images in batches:
        expected, found = net(images), run(images)
        if found.shape != expected.shape:
            raise RuntimeError(f"{what} gives {tuple(found.shape)}, the net {tuple(expected.shape)}")
        allowed = tolerance * max(1.0, float(expected.abs().amax()))
        off = float((found - expected).abs().amax())
        if not off <= allowed:  # NaN too
            raise RuntimeError(
                f"{what} differs from the net by {off:.3g} on {tuple(images.shape)} images; allowed are {allowed:.3g} "
                "(tolerance=). Nothing was kept."
            )
