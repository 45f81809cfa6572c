"""Texts of every kind: long, odd, paired, empty of tokens; nothing of them is lost, shifted or cut in silence."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from nlptl import Frozen, FullTuning, Learner, LoRA, NlptlWarning, OptionError
from nlptl.backbones import families
from nlptl.backbones.pieces import frame, text_pieces
from nlptl.data.words import split_words
from tests.kit.cells import BOTH_KINDS, PLAIN, Cell, fitted, gap, model, same_bits, scores
from tests.kit.rows import POLARITIES, SENTENCES, TEXTS, rows
from tests.kit.shelf import opened, tiny

SHEETS = [sheet.name for sheet in families.all()]
LONG = " ".join(TEXTS * 4)
MODES = {"frozen": Frozen(), "full": FullTuning(steps=2, batch_size=4), "lora": LoRA(steps=2, batch_size=4)}


@contextmanager
def _tolerant():
    """Words that a tokenizer drops are warned of; how many there are depends on its vocabulary."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        warnings.simplefilter("always", NlptlWarning)
        yield caught


every_mode = pytest.mark.parametrize("mode", MODES)
both_kinds = pytest.mark.parametrize("family", BOTH_KINDS)

#: Texts that tokenizers normalise, drop, join or lengthen. All entities are the runs of capital letters.
TRICKY = [
    "  \t ADA left",
    "we met ADA 👩‍👩‍👧 in PARIS 🇫🇷 !",
    "\u200bADA\u200b and BOB",
    "\ufeffADA of PARIS",
    "a naïve café by ÉLODIE in KØBENHAVN",
    "E\u0301LODIE left",  # an accent of its own
    "ﬁne ＡＤＡ",  # a ligature, and full width letters
    "東京 ADA กรุงเทพ BOB",
    "ADA,BOB;PARIS",
    "ADA\nBOB\r\nPARIS",
    "𝒜 ADA 𐍈 BOB",
]


@pytest.mark.parametrize("family", SHEETS)
def test_entities_are_slices_of_the_text(family):
    learner = fitted(Cell("ner", "full", family))
    for text in TRICKY:
        with _tolerant():
            (entities,) = learner.predict([text])
        words = split_words(text)
        for entity in entities:
            assert text[entity.start : entity.end] == entity.text
            assert entity.start in {w.start for w in words} and entity.end in {w.end for w in words}
            assert entity.text == entity.text.strip() and entity.text
            assert 0 < entity.score <= 1
            assert entity.label in {"person", "place", "firm"}


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2"])
def test_what_was_learnt_is_found_at_its_place_again(family):
    """Over-fitted on the very texts, with character spans: each span comes back exactly."""
    spans = []
    for text in TRICKY:
        words = [w for w in split_words(text) if w.text.isupper() and any(c.isalpha() for c in w.text)]
        spans.append([(w.start, w.end, "name") for w in words])
    mode = FullTuning(steps=80, batch_size=16, learning_rate=5e-3, dropout=0.0, schedule="constant")
    with _tolerant():
        learner = Learner(tiny(family), task="ner", mode=mode, compute=PLAIN).fit(TRICKY, spans)
        found = learner.predict(TRICKY)
    wrong = sum([(e.start, e.end, e.label) for e in row] != gold for row, gold in zip(found, spans, strict=True))
    # A vocabulary without capitals or kana may see the same unknown token in two places.
    assert wrong <= 3
    assert any(row for row in found)


@both_kinds
@every_mode
def test_a_long_text_is_windowed_in_training_and_in_inference_alike(family, mode):
    texts = [LONG, LONG + " it was awful !", *TEXTS[:4]]
    targets = ["positive", "negative", *POLARITIES[:4]]
    learner = Learner(tiny(family), mode=MODES[mode], compute=PLAIN).fit(texts, targets)
    record = learner.record_.to_dict()
    assert record["counts"]["windowed"] == 2
    assert record["counts"]["windows"] > 8
    assert record["counts"]["truncated"] == 0
    report = learner.evaluate(texts, targets)
    assert {k: report.counts[k] for k in ("windowed", "windows")} == {
        k: record["counts"][k] for k in ("windowed", "windows")
    }
    # What stands at the end of a long text changes its answer.
    end = scores(learner, [LONG + " it was awful !", LONG])
    assert gap(end[:1], end[1:]) > 0
    alone = [scores(learner, [text])[0] for text in texts]
    assert gap(scores(learner, texts), alone) < 1e-5


@both_kinds
def test_the_logits_of_a_long_text_are_the_mean_over_its_windows(family):
    backbone = opened(family)
    learner = fitted(Cell("classification", "full", family))
    (ids,) = text_pieces(backbone, [LONG])
    room = backbone.window - len(frame(backbone, []))
    shared = backbone.window // 4
    starts = [*range(0, len(ids) - room, room - shared), len(ids) - room]
    assert len(starts) > 2
    with torch.inference_mode():
        each = [model(learner)(input_ids=torch.tensor([frame(backbone, ids[s : s + room])])).logits for s in starts]
    expected = torch.cat(each).mean(0).numpy()
    np.testing.assert_allclose(scores(learner, [LONG])[0][0], expected, atol=1e-5)


@both_kinds
@every_mode
def test_sentences_longer_than_the_window_are_tagged_and_scored_whole(family, mode):
    inputs, targets = rows("ner")
    words = [w for row in inputs for w in row] * 6
    tags = [t for row in targets for t in row] * 6
    learner = Learner(tiny(family), task="ner", mode=MODES[mode], compute=PLAIN).fit([*inputs, words], [*targets, tags])
    assert learner.record_.to_dict()["counts"]["windowed"] == 1
    assert len(learner.predict([words])[0]) == len(words) > 150
    report = learner.evaluate([words], [tags])
    gold = sum(tag.startswith("B-") for tag in tags)
    assert sum(row["support"] for row in report.labels) == gold
    # Each word gets its own score: the windows' joins lose and repeat none.
    assert scores(learner, [words])[0].shape[0] == len(words)


def test_a_long_sentence_is_learnt_beyond_its_first_window():
    """The last words of a long sentence carry an entity that nothing else teaches."""
    filler = ("the movie was good and the story was great " * 12).split()
    inputs = [[*filler, "ada"], [*filler, "bank"], ["the", "movie"]]
    targets = [["O"] * len(filler) + ["B-person"], ["O"] * len(filler) + ["O"], ["O", "O"]]
    mode = FullTuning(steps=80, batch_size=3, learning_rate=3e-3, dropout=0.0, schedule="constant")
    learner = Learner(tiny("bert"), task="ner", mode=mode, compute=PLAIN).fit(inputs, targets)
    assert learner.record_.to_dict()["counts"]["windowed"] == 2
    assert learner.predict(inputs) == targets


@pytest.mark.parametrize("family", [s.name for s in families.all() if s.kind == "decoder"])
@pytest.mark.parametrize("task", ["classification", "ner"])
def test_a_text_that_ends_in_the_padding_token_is_read_to_its_end(family, task):
    learner = fitted(Cell(task, "full", family))
    tokenizer = learner._known.backbone.tokenizer
    assert tokenizer.padding_side == "right"
    assert tokenizer.pad_token_id is not None
    end = tokenizer.eos_token
    if task == "ner":
        texts = [["ada", "left", end], ["london"] * 9]
    else:
        texts = [f"the movie was good{end}", " ".join(TEXTS[:2])]
    alone = [scores(learner, [text])[0] for text in texts]
    assert gap(scores(learner, texts), alone) < 1e-5
    if task == "classification":
        assert gap(alone[:1], scores(learner, ["the movie was good"])) > 1e-6


@pytest.mark.parametrize("family", SHEETS)
def test_words_without_a_token_are_tagged_o_and_counted(family):
    learner = fitted(Cell("ner", "full", family))
    odd = ["ada", "\u200b", "left", ""]
    with _tolerant() as caught:
        (tags,) = learner.predict([odd])
        (chances,) = learner.predict_proba([odd])
    assert len(tags) == len(chances) == 4
    assert tags[3] == "O" and chances[3][0] == 1.0
    assert any("words without token" in str(w.message) for w in caught)


@both_kinds
@every_mode
def test_pairs_of_texts(family, mode, tmp_path: Path):
    pairs = [(TEXTS[i], TEXTS[-1 - i]) for i in range(8)]
    learner = Learner(tiny(family), mode=MODES[mode], compute=PLAIN).fit(pairs, POLARITIES)
    alone = [scores(learner, [pair])[0] for pair in pairs]
    assert gap(scores(learner, pairs), alone) < 1e-5
    swapped = scores(learner, [(b, a) for a, b in pairs])
    assert gap(swapped, alone) > 1e-6
    again = Learner.load(learner.save(tmp_path / "bundle"))
    again.compute = PLAIN
    assert same_bits(scores(again, pairs), scores(learner, pairs))
    long = scores(learner, [(TEXTS[0], LONG), (LONG, TEXTS[0])])
    assert all(np.isfinite(s).all() for s in long)
    with pytest.warns(NlptlWarning, match="1 truncated"):
        learner.predict([(LONG, LONG)])


def test_pairs_are_read_as_transformers_reads_them():
    backbone = opened("bert")
    learner = Learner(tiny("bert"), mode=FullTuning(steps=2), compute=PLAIN)
    learner.fit([(TEXTS[i], TEXTS[-1 - i]) for i in range(8)], POLARITIES)
    inputs = backbone.tokenizer(TEXTS[0], TEXTS[1], return_tensors="pt", return_token_type_ids=True)
    assert inputs["token_type_ids"].max() == 1
    with torch.inference_mode():
        expected = model(learner)(**inputs).logits.numpy()
    np.testing.assert_allclose(scores(learner, [(TEXTS[0], TEXTS[1])])[0], expected, atol=1e-5)


@every_mode
def test_a_window_larger_than_the_backbones_is_refused(mode):
    options = {"max_length": 65}
    learner = Cell("classification", mode, "bert").learner(**options)
    with pytest.raises(
        OptionError, match=r"max_length=65: received more tokens than the backbone holds; expected at most 64"
    ):
        learner.fit(TEXTS, POLARITIES)
    with pytest.raises(OptionError, match=r"stride=30: received as many shared tokens"):
        Cell("classification", mode, "bert").learner(max_length=32, stride=30).fit(TEXTS, POLARITIES)


@both_kinds
def test_a_smaller_window_makes_more_windows(family):
    learner = Cell("classification", "full", family).learner(max_length=8, stride=2).fit(TEXTS, POLARITIES)
    assert learner.record_.to_dict()["counts"]["windowed"] >= 5
    assert learner.record_.to_dict()["choices"]["window"] == "at most 8 tokens"


@pytest.mark.parametrize("scheme", ["BIO", "IOB1", "BIOES", "BILOU"])
def test_tags_come_back_in_the_scheme_they_came_in(scheme):
    from nlptl.data.spans import convert

    inputs, bio = rows("ner")
    targets = [convert(tags, "BIO", scheme) for tags in bio]
    mode = FullTuning(steps=60, batch_size=8, learning_rate=5e-3, dropout=0.0, schedule="constant")
    learner = Learner(tiny("bert"), task="ner", mode=mode, compute=PLAIN).fit(inputs, targets)
    assert learner.predict(inputs) == targets
    assert learner.score(inputs, targets) == 1.0
    assert any(scheme in note for note in learner.record_.to_dict()["notes"])
    # Strings in, entities out, from the same learner.
    found = learner.predict([SENTENCES[0]])[0]
    assert [(e.text, e.label) for e in found] == [("ada lovelace", "person"), ("london", "place"), ("paris", "place")]
