"""The commands. Each loads its part only when it runs: training needs no evaluation code, and the other way."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
