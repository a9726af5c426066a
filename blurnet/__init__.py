"""Defense layers, robust training, pretrained checkpoints and adaptive evaluation against stickers and patches.

Names load their file at first use, so that ``import blurnet`` costs little more than ``import torch``; they stand in
``__init__.pyi``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"
