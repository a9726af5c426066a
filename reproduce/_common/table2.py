"""BlurNet's Table 2 as published, and where the nets measured beside it are kept."""

from pathlib import Path

#: What ``reproduce.lineages`` measured; travels with the project.
RESULTS = Path(__file__).parents[1] / "results" / "lineages.json"

#: Row, shipped model, published alpha, accuracy, average and worst success rate (percent) and dissimilarity.
PUBLISHED = (
    ("baseline", "lisa_cnn", "0", 91.0, 49.18, 90.0, 0.207),
    ("3x3 learned, L-infinity", "lisa_cnn-linf3", "1e-5", 86.3, 30.0, 55.0, 0.201),
    ("5x5 learned, L-infinity", "lisa_cnn-linf5", "0.1", 86.3, 24.11, 47.5, 0.189),
    ("7x7 learned, L-infinity", "lisa_cnn-linf7", "0.1", 87.0, 11.61, 30.0, 0.203),
    ("total variation", "lisa_cnn-tv", "1e-4", 85.6, 7.92, 17.5, 0.224),
    ("total variation", "lisa_cnn-tv1e-5", "1e-5", 82.3, 8.47, 30.0, 0.199),
)
