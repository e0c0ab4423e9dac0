"""Makes `vision_data` importable: under importlib mode pytest leaves the path alone."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
