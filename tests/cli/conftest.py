"""The fixtures of training serve its command line too."""

from tests.training.conftest import crops, photos, signs, train

__all__ = ["crops", "photos", "signs", "train"]
