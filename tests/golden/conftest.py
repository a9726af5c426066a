"""The golden suite's own modules stand beside its tests and are imported by their names, in every import mode."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
