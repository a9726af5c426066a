"""The libraries beside which :mod:`benchmarks.transforms` times the input transformations, image by image as they work.

Each function takes the images (N, 3, H, W) and returns what is timed; it imports its library itself. Floats are
(H, W, 3) arrays made before the clock starts; conversions to 8 bits and back, where a library needs them, count.
"""

import io
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Array = np.ndarray
Run = Callable[[], object]


def each(x: Tensor, function: Callable[[Array], Array]) -> Run:
    """The function over the images, one by one."""
    images = x.cpu().movedim(1, -1).contiguous().numpy()
    return lambda: [function(image) for image in images]


def bytes_of(image: Array) -> Array:
    return np.rint(image * 255).astype(np.uint8)


def scipy_median(x: Tensor) -> Run:
    from scipy.ndimage import median_filter

    return each(x, lambda image: median_filter(image, (3, 3, 1)))


def scipy_gaussian(x: Tensor) -> Run:
    from scipy.ndimage import gaussian_filter

    return each(x, lambda image: gaussian_filter(image, (1, 1, 0)))


def skimage_bilateral(x: Tensor) -> Run:
    from skimage.restoration import denoise_bilateral

    return each(x, lambda image: denoise_bilateral(image, 5, channel_axis=-1))


def opencv_bilateral(x: Tensor) -> Run:
    import cv2

    cv2.setNumThreads(torch.get_num_threads())
    return each(x, lambda image: cv2.bilateralFilter(bytes_of(image), 5, 13, 1) / np.float32(255))


def opencv_nlm(x: Tensor) -> Run:
    import cv2

    cv2.setNumThreads(torch.get_num_threads())
    denoise = cv2.fastNlMeansDenoisingColored
    return each(x, lambda image: denoise(bytes_of(image), None, 4, 4, 3, 11) / np.float32(255))


def skimage_nlm(x: Tensor) -> Run:
    from skimage.restoration import denoise_nl_means

    return each(x, lambda image: denoise_nl_means(image, 3, 5, 0.1, channel_axis=-1))


def skimage_tv(x: Tensor) -> Run:
    from skimage.restoration import denoise_tv_bregman

    return each(x, lambda image: denoise_tv_bregman(image, 10, channel_axis=-1))


def skimage_tv_together(x: Tensor) -> Run:
    """Channels together, without ``channel_axis``."""
    from skimage.restoration import denoise_tv_bregman

    return each(x, lambda image: denoise_tv_bregman(image, 10))


def skimage_wavelet(x: Tensor) -> Run:
    from skimage.restoration import denoise_wavelet

    return each(x, lambda image: denoise_wavelet(image, convert2ycbcr=True, channel_axis=-1))


def numpy_bits(x: Tensor) -> Run:
    return each(x, lambda image: np.rint(image * 7) / 7)


def pillow_jpeg(x: Tensor) -> Run:
    from PIL import Image

    def code(image: Array) -> Array:
        file = io.BytesIO()
        Image.fromarray(bytes_of(image)).save(file, "JPEG", quality=30)
        return np.asarray(Image.open(file)) / np.float32(255)

    return each(x, code)


def opencv_telea(x: Tensor) -> Run:
    import cv2

    mask = np.zeros(x.shape[-2:], np.uint8)
    mask[20:62, 30:72] = 1
    return each(x, lambda image: cv2.inpaint(bytes_of(image), mask, 5, cv2.INPAINT_TELEA) / np.float32(255))


def pillow_resize_pad(x: Tensor) -> Run:
    from PIL import Image

    def paste(image: Array) -> Array:
        canvas = Image.new("RGB", (331, 331))
        canvas.paste(Image.fromarray(bytes_of(image)).resize((315, 315), Image.Resampling.NEAREST), (7, 9))
        return np.asarray(canvas) / np.float32(255)

    return each(x, paste)


def kornias(name: str, *arguments: object) -> Callable[[Tensor], Run]:
    """A batched filter of kornia."""

    def peer(x: Tensor) -> Run:
        from kornia import filters

        function = getattr(filters, name)
        return lambda: function(x, *arguments)

    return peer


def arts(name: str, **settings: object) -> Callable[[Tensor], Run]:
    """ART's class of that name, on the images as it takes them."""

    def peer(x: Tensor) -> Run:
        from art.defences import preprocessor

        layout = {} if name in ("FeatureSqueezing", "TotalVarMin") else {"channels_first": True}
        defence = getattr(preprocessor, name)(clip_values=(0.0, 1.0), **layout, **settings)
        images = (x.movedim(1, -1) if name == "TotalVarMin" else x).cpu().contiguous().numpy()
        return lambda: defence(images)

    return peer


def torch_unfold_median(x: Tensor) -> Run:
    """The median of unfolded windows, as one writes it down in PyTorch."""

    def run() -> Tensor:
        windows = F.pad(x, (1, 1, 1, 1), mode="replicate").unfold(2, 3, 1).unfold(3, 3, 1)
        return windows.flatten(-2).median(-1).values

    return run
