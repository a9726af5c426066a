"""Files of a patch: safetensors and PNG to keep it, PNG and PDF to print it. Data only; a pickle is refused."""

import io
import json
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.files import read_tensors, refuse_pickle, replacing, write_atomic

#: Under this name a file says what its patch is: JSON in the metadata of safetensors, in a text chunk of PNG.
KEY = "blurnet-patch"
_MOST_PIXELS = 20_000

Content = tuple[Tensor, Tensor, dict[str, Any]]


def write_safetensors(path: Path, pixels: Tensor, mask: Tensor, info: dict[str, Any]) -> None:
    """Write pixels (3, h, w) and mask (1, h, w) with all their digits, and ``info`` as JSON."""
    import safetensors.torch

    tensors = {"pixels": pixels.cpu().contiguous(), "mask": mask.cpu().contiguous()}
    write_atomic(path, safetensors.torch.save(tensors, {KEY: json.dumps(info, sort_keys=True, allow_nan=False)}))


def read_safetensors(path: Path) -> Content:
    """Pixels, mask and info of a file that :func:`write_safetensors` made.

    Raises:
        FileNotFoundError, ValueError: missing, a pickle, damaged, or no patch.
    """
    tensors, metadata = read_tensors(
        path, "patch file", "save the patch as .safetensors where it was made (Patch.save)"
    )
    if set(tensors) != {"pixels", "mask"} or KEY not in metadata:
        raise ValueError(f"{path}: not a saved patch: expected the tensors pixels and mask, got {sorted(tensors)}")
    return tensors["pixels"], tensors["mask"], _info(metadata[KEY], path)


def write_png(path: Path, pixels: Tensor, mask: Tensor, info: dict[str, Any]) -> None:
    """Write the patch at its own resolution, 8 bits a channel, the mask as the alpha channel."""
    from PIL import Image, PngImagePlugin

    text = PngImagePlugin.PngInfo()
    text.add_text(KEY, json.dumps(info, sort_keys=True, allow_nan=False))
    with replacing(path) as stream:
        Image.fromarray(_bytes(torch.cat([pixels, mask])), "RGBA").save(stream, "PNG", pnginfo=text)


def read_png(path: Path) -> Content:
    """Pixels, mask and info of a PNG; without an alpha channel the mask is all ones, without our text info is empty.

    Raises:
        FileNotFoundError, ValueError: missing, or not a readable PNG.
    """
    import numpy as np
    from PIL import Image

    refuse_pickle(path, "save the patch as .safetensors or .png", "patch file")
    try:
        with Image.open(path, formats=["PNG"]) as image:
            array = np.array(image.convert("RGBA"))
            text = image.info.get(KEY)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: not a readable PNG: {error}") from error
    values = torch.from_numpy(array).permute(2, 0, 1).float() / 255
    return values[:3].contiguous(), values[3:].contiguous(), {} if text is None else _info(text, path)


def write_print(path: Path, pixels: Tensor, mask: Tensor, width_cm: float, dpi: int) -> None:
    """Write the patch on white paper for printing: ``width_cm`` wide, .png or .pdf.

    It is drawn bilinearly at ``dpi`` dots an inch. A PDF's page is exactly the patch and its picture is lossless; a
    PNG states its resolution, so that its printed size is exact to the 1 / 39.37 dpi that the format can say.

    Raises:
        ValueError: another suffix, or a size that is not positive or beyond 20,000 dots.
    """
    if not (math.isfinite(width_cm) and width_cm > 0 and dpi > 0):
        raise ValueError(f"export: expected a positive width in cm and dpi, got {width_cm!r} and {dpi!r}")
    height, width = mask.shape[-2:]
    inches = (width_cm / 2.54, width_cm / 2.54 * height / width)
    dots = [max(1, round(side * dpi)) for side in inches]
    if max(dots) > _MOST_PIXELS:
        raise ValueError(f"export: {width_cm} cm at {dpi} dpi are {dots[0]}x{dots[1]} dots; at most {_MOST_PIXELS}")
    paper = (pixels * mask + 1 - mask)[None]
    drawn = F.interpolate(paper, (dots[1], dots[0]), mode="bilinear", antialias=True)[0].clamp(0, 1)
    if path.suffix.lower() == ".png":
        from PIL import Image

        resolution = (dots[0] / inches[0], dots[1] / inches[1])
        with replacing(path) as stream:
            Image.fromarray(_bytes(drawn), "RGB").save(stream, "PNG", dpi=resolution)
    elif path.suffix.lower() == ".pdf":
        write_atomic(path, _pdf(_bytes(drawn), inches, dpi))
    else:
        raise ValueError(f"export: expected .png or .pdf, got {path.name!r}")


def _pdf(array: Any, inches: tuple[float, float], dpi: int) -> bytes:
    """One page of the size in inches, filled by the picture (H, W, 3), compressed without loss."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, dpi=dpi)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(array, interpolation="none", aspect="auto")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="pdf", dpi=dpi, metadata={"CreationDate": None})
    return buffer.getvalue()


def _bytes(values: Tensor) -> Any:
    """Values (C, H, W) in [0, 1] to a byte array (H, W, C)."""
    return (values * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()


def _info(text: str, path: Path) -> dict[str, Any]:
    try:
        info = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path}: what it says of its patch is not JSON: {error}") from error
    if not isinstance(info, dict):
        raise ValueError(f"{path}: what it says of its patch is not a JSON object")
    return info
