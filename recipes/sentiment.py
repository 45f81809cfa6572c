"""Sentiment: negative, neutral, positive; or stars, where the targets are numbers.

    python recipes/sentiment.py                                             the bundled reviews
    python recipes/sentiment.py --train train.csv --eval dev.csv            your own: CSV, JSON Lines, Parquet, …
    python recipes/sentiment.py --scale stars --train stars.csv             numbers, by regression
    torchrun --nproc-per-node 2 recipes/sentiment.py --mode full            several processes share the work

The same from the command line: nlptl fit recipes/sentiment.yaml
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from nlptl import Learner, NlptlError, Sentiment
from nlptl.data import demo
from nlptl.recipe import demo_backbone, tell

TEXTS = ["Not the disaster I had feared.", "Wonderful. It broke on the second day.", "The box holds twelve."]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", default=demo.path("sentiment", "train"), help="texts with labels or numbers")
    parser.add_argument("--eval", help="rows held out (default: the bundled ones, or a tenth of your own)")
    parser.add_argument("--backbone", help="a folder, a Hub id or a .gguf file (default: MiniLM of nlptl[demo])")
    parser.add_argument("--mode", default="lora", help="frozen, full or lora")
    parser.add_argument("--scale", default="auto", help="auto, polarity or stars")
    parser.add_argument("--out", default="runs/sentiment", help="the folder to save in")
    given = parser.parse_args(words)
    bundled = given.train == parser.get_default("train")
    held_out = given.eval or (demo.path("sentiment", "test") if bundled else 0.1)

    # 1. Learn. neg/pos, 0/1, -1/0/1 and 1…5 are read as polarities; the record tells how.
    mood = Learner(given.backbone or demo_backbone(), task=Sentiment(scale=given.scale), mode=given.mode)
    mood.fit(given.train, eval=held_out)
    tell(mood.record_, "")

    # 2. Score, on rows it has not learnt from.
    if not isinstance(held_out, float):
        tell(mood.evaluate(held_out), "")

    # 3. Use: `predict` gives labels (or stars), `polarity` one number in -1…1.
    for text, answer, polarity in zip(TEXTS, mood.predict(TEXTS), mood.polarity(TEXTS), strict=True):
        tell(f"{polarity:+.2f}  {answer}  {text}")

    # 4. Keep. Learner.load(folder) or nlptl predict opens it again.
    tell(f"saved in {mood.save(given.out)}")


if __name__ == "__main__":
    try:
        main()
    except NlptlError as error:  # what the user can mend: one message, no traceback
        raise SystemExit(f"{error}") from None
