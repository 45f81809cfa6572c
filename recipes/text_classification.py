"""Text classification: one label a text, or several.

    python recipes/text_classification.py                                   the bundled letters to a town council
    python recipes/text_classification.py --train train.csv --eval dev.csv  your own: CSV, JSON Lines, Parquet, …
    python recipes/text_classification.py --backbone gpt2 --mode frozen
    torchrun --nproc-per-node 2 recipes/text_classification.py              several processes share the work

The same from the command line: nlptl fit recipes/text_classification.yaml
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from nlptl import Learner, NlptlError
from nlptl.data import demo
from nlptl.recipe import demo_backbone, tell

TEXTS = ["The tap water has been brown since Monday.", "Who prunes the lime trees in Station Road?"]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", default=demo.path("classification", "train"), help="texts with labels")
    parser.add_argument("--eval", help="rows held out (default: the bundled ones, or a tenth of your own)")
    parser.add_argument("--backbone", help="a folder, a Hub id or a .gguf file (default: MiniLM of nlptl[demo])")
    parser.add_argument("--mode", default="lora", help="frozen, full or lora")
    parser.add_argument("--out", default="runs/classification", help="the folder to save in")
    given = parser.parse_args(words)
    bundled = given.train == parser.get_default("train")
    held_out = given.eval or (demo.path("classification", "test") if bundled else 0.1)

    # 1. Learn. Lists of labels, or several columns of 0/1, make it a task of several labels a text.
    topics = Learner(given.backbone or demo_backbone(), task="classification", mode=given.mode)
    topics.fit(given.train, eval=held_out)
    tell(topics.record_, "")

    # 2. Score, on rows it has not learnt from.
    if not isinstance(held_out, float):
        tell(topics.evaluate(held_out), "")

    # 3. Use: labels in the form they were given, and how sure each is.
    for text, label, chances in zip(TEXTS, topics.predict(TEXTS), topics.predict_proba(TEXTS), strict=True):
        tell(f"{chances.max():.2f}  {label}  {text}")

    # 4. Keep. Learner.load(folder) or nlptl predict opens it again.
    tell(f"saved in {topics.save(given.out)}")


if __name__ == "__main__":
    try:
        main()
    except NlptlError as error:  # what the user can mend: one message, no traceback
        raise SystemExit(f"{error}") from None
