"""Named entities: who, where and what in your sentences.

    python recipes/ner.py                                                   the bundled sentences
    python recipes/ner.py --train train.conll --eval dev.conll              your own: CoNLL, JSON Lines, Parquet, …
    python recipes/ner.py --backbone roberta-base --mode full
    torchrun --nproc-per-node 2 recipes/ner.py --mode lora                  several processes share the work

The same from the command line: nlptl fit recipes/ner.yaml
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from nlptl import Learner, NlptlError
from nlptl.data import demo
from nlptl.recipe import demo_backbone, tell

SENTENCES = ["Ada Lovelace left London for Paris.", "Nobody at the office of Siemens had heard of it."]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", default=demo.path("ner", "train"), help="rows with tags, or text with spans")
    parser.add_argument("--eval", help="rows held out (default: the bundled ones, or a tenth of your own)")
    parser.add_argument("--backbone", help="a folder, a Hub id or a .gguf file (default: MiniLM of nlptl[demo])")
    parser.add_argument("--mode", default="lora", help="frozen, full or lora")
    parser.add_argument("--out", default="runs/ner", help="the folder to save in")
    given = parser.parse_args(words)
    bundled = given.train == parser.get_default("train")
    held_out = given.eval or (demo.path("ner", "test") if bundled else 0.1)

    # 1. Learn. Tags of any scheme and spans of characters are told apart; what was found stands in the record.
    people = Learner(given.backbone or demo_backbone(), task="ner", mode=given.mode)
    people.fit(given.train, eval=held_out)
    tell(people.record_, "")

    # 2. Score, on rows it has not learnt from: an entity counts if its words and its label are right.
    if not isinstance(held_out, float):
        tell(people.evaluate(held_out), "")

    # 3. Use: a string gives entities with their characters, a list of words gives a tag for each.
    for sentence, entities in zip(SENTENCES, people.predict(SENTENCES), strict=True):
        tell(sentence, *(f"    {e.label:<14}{e.text}  [{e.start}:{e.end}]  {e.score:.2f}" for e in entities))

    # 4. Keep. Learner.load(folder) or nlptl predict opens it again.
    tell(f"saved in {people.save(given.out)}")


if __name__ == "__main__":
    try:
        main()
    except NlptlError as error:  # what the user can mend: one message, no traceback
        raise SystemExit(f"{error}") from None
