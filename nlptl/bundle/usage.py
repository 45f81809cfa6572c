"""The code that a card prints: how its bundle is used in nlptl, and without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlptl.backbones import families
from nlptl.bundle.manifest import Manifest
from nlptl.bundle.markdown import literal

#: What stands in the code of a bundle that lies in a folder, and of a base that has no name elsewhere.
FOLDER, BASE = "this-folder", "folder-of-the-base"

#: Past this many labels the code reads them from the bundle and does not list them.
LISTED = 40

TEXT = "Not the disaster I had feared."
SENTENCE = ("Ada", "Lovelace", "left", "London")


@dataclass(frozen=True)
class Facts:
    """What the code needs to know of a bundle.

    Parameters
    ----------
    manifest : what it says of itself
    where : its Hub id, or None for a folder
    pad_id : the pad token of its tokenizer
    lead : what goes before a word so that it is read as in the middle of a sentence
    types : the types in its sklearn head that skops does not know by itself
    """

    manifest: Manifest
    where: str | None
    pad_id: int
    lead: str
    types: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path, manifest: Manifest, where: str | None) -> Facts:
        """The facts of a bundle that lies in a folder, whole."""
        from transformers import AutoTokenizer

        from nlptl.backbones.pieces import word_lead

        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        head = folder / "head.skops"
        types: Sequence[str] = ()
        if head.is_file():
            import skops.io

            types = sorted(skops.io.get_untrusted_types(file=head))
        return cls(manifest, where, int(tokenizer.pad_token_id or 0), word_lead(tokenizer), tuple(types))

    @property
    def source(self) -> str:
        return literal(self.where or FOLDER)

    @property
    def base(self) -> str:
        return literal(self.manifest.base.id or BASE)

    @property
    def names(self) -> list[str]:
        return [str(name) for name in self.manifest.labels["names"]]

    @property
    def problem(self) -> str:
        return str(self.manifest.labels["problem"])

    @property
    def mode(self) -> str:
        return str(self.manifest.mode["name"])

    @property
    def decoder(self) -> bool:
        kinds = {sheet.name: sheet.kind for sheet in families.all()}
        return kinds.get(self.manifest.base.model_type) == "decoder"

    @property
    def pairs(self) -> bool:
        return self.manifest.record.get("data", {}).get("inputs") == "pairs of texts"

    def option(self, name: str) -> Any:
        """An option of the mode, None where it is the default."""
        return self.manifest.mode["options"].get(name)

    def file(self, name: str) -> str:
        """Source that gives the path of a file of the bundle."""
        return f"hf_hub_download({self.source}, {literal(name)})" if self.where else literal(f"{FOLDER}/{name}")


def own(facts: Facts) -> str:
    """The bundle in nlptl."""
    more = "" if facts.manifest.base.id or facts.mode == "full" else f", backbone={facts.base}"
    rows, name = _example(facts)
    return _lines(
        "from nlptl import Learner",
        "",
        f"learner = Learner.load({facts.source}{more})",
        f"{name} = {rows}",
        f"found = learner.predict({name})",
        "print(found)",
    )


def pipeline(facts: Facts) -> str:
    """A full model in transformers' pipeline."""
    if facts.problem == "spans":
        return _lines(
            "from transformers import pipeline",
            "",
            f'tag = pipeline("token-classification", model={facts.source}, aggregation_strategy="simple")',
            f"found = tag({literal(' '.join(SENTENCE))})",
            "print(found)",
        )
    given = '[{"text": a, "text_pair": b} for a, b in texts]' if facts.pairs else "texts"
    lines = [
        "from transformers import pipeline",
        "",
        f'classify = pipeline("text-classification", model={facts.source}, top_k=None)',
        f"texts = {_example(facts)[0]}",
        f"found = classify({given}, truncation=True)",
    ]
    if facts.problem == "regression":
        mean, spread = facts.manifest.labels["mean"], facts.manifest.labels["spread"]
        lines.append(f'found = [row[0]["score"] * {spread!r} + {mean!r} for row in found]')
    return _lines(*lines, "print(found)")


def plain(facts: Facts) -> str:
    """The bundle without nlptl: in transformers, peft or skops."""
    if facts.problem == "spans":
        return _tagger(facts)
    given = "[a for a, _ in texts], [b for _, b in texts]" if facts.pairs else "texts"
    body = [
        f"texts = {_example(facts)[0]}",
        f'batch = tokenizer({given}, padding=True, truncation=True, return_tensors="pt")',
        *_kept_inputs(facts),
    ]
    if facts.mode == "frozen":
        return _lines(*_imports(facts), *_encoder(facts), "", *body, *_pooled(facts), *_head(facts), *_said(facts))
    return _lines(*_imports(facts), *_model(facts), "", *body, *_run("logits = model(**batch).logits"), *_said(facts))


def _tagger(facts: Facts) -> str:
    """Words in, one row of logits a word out: that of the word's first token."""
    sentence = facts.lead + " ".join(SENTENCE)
    body = [
        f"sentence = {literal(sentence)}",
        'batch = tokenizer(sentence, return_tensors="pt", return_offsets_mapping=True)',
        'places = batch.pop("offset_mapping")[0].tolist()',
        *_kept_inputs(facts),
    ]
    first = [
        'starts = [i for i, c in enumerate(sentence) if c != " " and sentence[i - 1 : i] in ("", " ")]',
        "first = [next(n for n, place in enumerate(places) if i in range(*place)) for i in starts]",
    ]
    if facts.mode == "frozen":
        hidden = _run(_hidden(facts))
        vectors = ["vectors = hidden[0, first].numpy()", *_normalized(facts)]
        top = [*_imports(facts), *_encoder(facts), "", *body, *first]
        return _lines(*top, *hidden, *vectors, *_head(facts), *_said(facts))
    run = _run("logits = model(**batch).logits[0, first]")
    return _lines(*_imports(facts), *_model(facts), "", *body, *first, *run, *_said(facts))


def _imports(facts: Facts) -> list[str]:
    """The imports of the code below them, sorted as a reader expects them."""
    lines = ["import torch"]
    kind = "TokenClassification" if facts.problem == "spans" else "SequenceClassification"
    classes = ["AutoTokenizer"]
    if facts.mode == "frozen":
        lines = ["import skops.io", "import torch"]
        classes.append("AutoModel")
    elif facts.mode == "full" or _by_hand(facts):
        classes.append(f"AutoModelFor{kind}")
    if facts.option("bidirectional") and facts.mode != "full":
        classes.append("AutoConfig")
    if len(facts.names) > LISTED:
        lines = ["import json", "from pathlib import Path", "", *lines]
    if facts.where and (facts.mode == "frozen" or len(facts.names) > LISTED):
        lines.append("from huggingface_hub import hf_hub_download")
    if facts.mode == "lora":
        lines.append("from peft import PeftModel" if _by_hand(facts) else f"from peft import AutoPeftModelFor{kind}")
    return [*lines, f"from transformers import {', '.join(sorted(classes))}", "", *_names(facts)]


def _names(facts: Facts) -> list[str]:
    if len(facts.names) > LISTED:
        read = f'Path({facts.file("nlptl.json")}).read_text(encoding="utf-8")'
        return [f'names = json.loads({read})["manifest"]["labels"]["names"]']
    return [f"names = {literal(facts.names)}"]


def _by_hand(facts: Facts) -> bool:
    """Whether peft cannot find or open the base by itself: it has no public id, or is to read both ways."""
    return facts.manifest.base.id is None or bool(facts.option("bidirectional"))


def _model(facts: Facts) -> list[str]:
    kind = "TokenClassification" if facts.problem == "spans" else "SequenceClassification"
    tokenizer = f"tokenizer = AutoTokenizer.from_pretrained({facts.source})"
    if facts.mode == "full":
        return [
            f"model = AutoModelFor{kind}.from_pretrained({facts.source}, dtype=torch.float32).eval()",
            tokenizer,
        ]
    about = "num_labels=len(names), id2label=dict(enumerate(names))"
    about += f", pad_token_id={facts.pad_id}" if facts.decoder else ""
    if not _by_hand(facts):
        call = f"model = AutoPeftModelFor{kind}.from_pretrained("
        return [call, f"    {facts.source}, {about}, dtype=torch.float32", ").eval()", tokenizer]
    lines, revision = [], _revision(facts)
    if facts.option("bidirectional"):
        lines = [
            f"config = AutoConfig.from_pretrained({facts.base}{revision}, {about})",
            "config.is_causal = False",
        ]
        about = "config=config"
    return [
        *lines,
        f"base = AutoModelFor{kind}.from_pretrained(",
        f"    {facts.base}{revision}, {about}, dtype=torch.float32",
        ")",
        f"model = PeftModel.from_pretrained(base, {facts.source}).eval()",
        tokenizer,
    ]


def _encoder(facts: Facts) -> list[str]:
    lines, more = [], ""
    if facts.option("bidirectional"):
        lines = [f"config = AutoConfig.from_pretrained({facts.base}{_revision(facts)})", "config.is_causal = False"]
        more = ", config=config"
    call = f"encoder = AutoModel.from_pretrained({facts.base}{_revision(facts)}{more}, dtype=torch.float32).eval()"
    return [
        *lines,
        call,
        f"tokenizer = AutoTokenizer.from_pretrained({facts.source})",
        f"head = skops.io.load({facts.file('head.skops')}, trusted={literal(facts.types)})",
    ]


def _revision(facts: Facts) -> str:
    base = facts.manifest.base
    return f", revision={literal(base.commit)}" if base.id and base.commit else ""


def _kept_inputs(facts: Facts) -> list[str]:
    # A tokenizer's own class may add token types, which a decoder would take for words.
    return ['batch.pop("token_type_ids", None)'] if facts.decoder else []


def _run(line: str) -> list[str]:
    return ["with torch.no_grad():", f"    {line}"]


def _hidden(facts: Facts) -> str:
    layer = facts.option("layer")
    if layer is None:
        return "hidden = encoder(**batch).last_hidden_state"
    return f"hidden = encoder(**batch, output_hidden_states=True).hidden_states[{layer}]"


def _pooled(facts: Facts) -> list[str]:
    mask = 'mask = batch["attention_mask"].bool()[..., None]'
    how = {
        "mean": [mask, "vectors = ((hidden * mask).sum(1) / mask.sum(1)).numpy()"],
        "max": [mask, 'vectors = hidden.masked_fill(~mask, float("-inf")).amax(1).numpy()'],
        "cls": ["vectors = hidden[:, 0].numpy()"],
        "last": ['vectors = hidden[range(len(texts)), batch["attention_mask"].sum(1) - 1].numpy()'],
    }
    return [*_run(_hidden(facts)), *how[facts.manifest.kept["pooling"]], *_normalized(facts)]


def _normalized(facts: Facts) -> list[str]:
    if not facts.manifest.kept["normalize"]:
        return []
    return ["vectors = vectors / (vectors**2).sum(-1, keepdims=True) ** 0.5"]


def _head(facts: Facts) -> list[str]:
    if facts.problem == "regression":
        return []
    return ["chances = head.predict_proba(vectors)"]


def _said(facts: Facts) -> list[str]:
    """From logits or probabilities to what is told."""
    space, frozen = facts.manifest.labels, facts.mode == "frozen"
    if facts.problem == "regression":
        number = "head.predict(vectors).reshape(-1)" if frozen else "logits[:, 0].numpy()"
        return [f"found = {number} * {space['spread']!r} + {space['mean']!r}", "print(found)"]
    if facts.problem == "multi":
        edges = space.get("thresholds") or [0.5] * len(facts.names)
        chances = [] if frozen else ["chances = logits.sigmoid().numpy()"]
        line = "found = [[name for name, p, edge in zip(names, row, edges) if p >= edge] for row in chances]"
        return [f"edges = {literal(list(edges))}", *chances, line, "print(found)"]
    if frozen:
        return ["found = [names[head.classes_[k]] for k in chances.argmax(-1)]", "print(found)"]
    return ["found = [names[k] for k in logits.argmax(-1)]", "print(found)"]


def _example(facts: Facts) -> tuple[str, str]:
    if facts.problem == "spans":
        return literal([list(SENTENCE)]), "sentences"
    return literal([(TEXT, TEXT)] if facts.pairs else [TEXT]), "texts"


def _lines(*lines: str) -> str:
    return "\n".join(lines)
