"""Times the search for copies of 10,000 test images among 60,000 others; prints seconds of one thread and peak memory.

python tests/benchmarks/duplicates_scale.py
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tlbench.data.duplicates import copy_index, find_copies

TRAINED, TESTED, COPIED = 60_000, 10_000, 700


def main() -> None:
    """Make images of ten kinds on disk, as a decoded dataset lies there, and look for copies of which some are."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.npy"
        x = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(TRAINED + TESTED, 1, 28, 28))
        draw = np.random.default_rng(0)
        kinds = draw.normal(0, 40, (10, 1, 7, 7)).repeat(4, 2).repeat(4, 3)
        for start in range(0, len(x), 1000):
            bent = draw.normal(0, 30, (1000, 1, 14, 14)).repeat(2, 2).repeat(2, 3)
            x[start : start + 1000] = np.clip(128 + kinds[draw.integers(0, 10, 1000)] + bent, 0, 255)
        noise = draw.integers(-4, 5, (COPIED, 1, 28, 28))
        x[TRAINED : TRAINED + COPIED] = np.clip(x[:COPIED].astype(np.int64) + noise, 0, 255)
        x.flush()
        mapped = np.load(file, mmap_mode="r")
        start, before = time.process_time(), _peak_mb()
        found = find_copies(
            copy_index(mapped[TRAINED:]), np.arange(TESTED), copy_index(mapped[:TRAINED]), np.arange(TRAINED)
        )
        seconds = time.process_time() - start
    figures = {
        "seconds": round(seconds, 2),
        "mb": _peak_mb() - before,
        "copies": COPIED,
        "found": int(found.exists.sum()),
        "right": int((found.row[:COPIED] == np.arange(COPIED)).sum()),
    }
    print(json.dumps(figures))


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
