"""`open_backbone`: a checkpoint's config, tokenizer and facts, and its weights when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from nlptl.backbones import facts, families, heads
from nlptl.backbones.base import Family
from nlptl.backbones.heads import Level, Opened, Problem
from nlptl.backbones.sources import Place, locate, pinned, told
from nlptl.errors import BackboneError, Fault, OptionError, listing


@dataclass(eq=False)
class Backbone:
    """An opened checkpoint: everything but its weights, which `encoder` and `with_head` load afresh.

    Attributes
    ----------
    source : what the user named
    revision : the Hub revision the user named, if any
    commit : the commit of the Hub that was read; None for a local checkpoint
    config, tokenizer : transformers' own; the tokenizer has a pad token
    family : the fact sheet
    window : tokens that one pass holds, special tokens counted
    embedding_window : the window its makers embed with (sentence-transformers' max_seq_length), or `window`
    pooling : what turns its tokens into one vector by default
    normalize : its makers scale that vector to length one
    notes : what was found or mended on opening, in words
    """

    source: str
    revision: str | None
    commit: str | None
    config: Any
    tokenizer: Any
    family: Family
    window: int
    embedding_window: int
    pooling: str
    normalize: bool
    place: Place
    trust_remote_code: bool = False
    notes: tuple[str, ...] = field(default=())

    def encoder(self, *, bidirectional: bool = False, dtype: Any = None, seed: int = 0) -> Any:
        """The base model without a head, in evaluation mode, nothing of it trainable.

        A pooler that the checkpoint lacks is drawn under `seed` and is no part of what nlptl reads.
        """
        from transformers import AutoModel

        config = self._fresh_config()
        if bidirectional:
            self._refuse_one_way()
            config.is_causal = False
        model, _ = self._load(AutoModel, config, dtype, seed)
        return model.eval().requires_grad_(False)

    def with_head(
        self,
        level: Level,
        labels: Sequence[str] | int,
        problem: Problem,
        *,
        seed: int,
        dropout: float | None = None,
        bidirectional: bool = False,
        dtype: Any = None,
    ) -> Opened:
        """The model with transformers' own head for this level, the head drawn under `seed`.

        Parameters
        ----------
        level : "sequence" gives one row of logits a text, "token" one a token
        labels : their names in the order of the logits, or how many
        problem : what transformers' own loss and pipeline take it for
        seed : of the head alone; torch's global random state is left as it was
        dropout : every dropout rate of the backbone and the head; None keeps the checkpoint's
        bidirectional : a decoder attends to what follows, too
        dtype : of the weights; None is float32
        """
        config = self._head_config(labels, problem, dropout, bidirectional)
        cls, stock = heads.model_class(config, level)
        model, missing = self._load(cls, config, dtype, seed)
        notes = list(self.notes)
        if not stock:
            notes.append(
                f"transformers has no token-classification class for {config.model_type}: "
                "such a model opens only in nlptl"
            )
        head = heads.head_modules(model)
        fresh = heads.fresh_modules(model, missing)
        self._refuse_random_base(model, fresh)
        if self._head_of_others(level, config) and any(name not in fresh for name in head):
            # The checkpoint was fine-tuned for other labels: its head says nothing of these, however its
            # shape may fit.
            with heads.drawn_under(seed):
                heads.redraw(model, head)
            fresh = tuple(dict.fromkeys((*(name for name in fresh if name.split(".")[0] not in head), *head)))
            notes.append("the checkpoint's own head was for other labels and was drawn anew")
        if level == "sequence" and (self.family.kind == "decoder" or self.family.reads_last_place):
            heads.read_last_token_by_mask(model)
        return Opened(model, fresh, head, tuple(notes))

    @property
    def pad_id(self) -> int:
        """What fills a batch up; attention masks hide it."""
        return int(self.tokenizer.pad_token_id)

    @property
    def width(self) -> int:
        """The length of the vectors that it gives."""
        text_config = self.config.get_text_config()
        return int(getattr(text_config, "word_embed_proj_dim", None) or text_config.hidden_size)

    @property
    def layers(self) -> int:
        """How many layers there are on top of the embeddings."""
        return int(self.config.get_text_config().num_hidden_layers)

    @property
    def local(self) -> Path | None:
        """The folder or file it was opened from; None where it came from the Hub."""
        path = Path(self.source).expanduser()
        return path if path.exists() else None

    @property
    def public_id(self) -> str | None:
        """The Hub id it was opened by: the only name of it that means anything elsewhere."""
        return None if self.local is not None else self.source

    @cached_property
    def token_class(self) -> bool:
        """Whether transformers has a token-classification class; without, a model opens only in nlptl."""
        return heads.model_class(self.config, "token")[1]

    def fingerprint(self) -> str:
        """sha256 over the names, types, shapes and bytes of the checkpoint's weights."""
        from nlptl.backbones.weights import fingerprint

        return fingerprint(self.place)

    def _fresh_config(self) -> Any:
        import copy

        return copy.deepcopy(self.config)

    def _head_config(
        self, labels: Sequence[str] | int, problem: Problem, dropout: float | None, bidirectional: bool
    ) -> Any:
        config = self._fresh_config()
        names = [f"LABEL_{n}" for n in range(labels)] if isinstance(labels, int) else [str(name) for name in labels]
        config.num_labels = len(names)
        config.id2label = dict(enumerate(names))
        config.label2id = {name: n for n, name in enumerate(names)}
        config.problem_type = heads.PROBLEM_TYPES[problem]
        if dropout is not None:
            for name in self.family.dropout:
                setattr(config, name, dropout)
        if bidirectional:
            self._refuse_one_way()
            config.is_causal = False
        return config

    def _refuse_one_way(self) -> None:
        if self.family.kind == "encoder":
            raise OptionError(
                f"received bidirectional=True for {self.family.name}; expected a decoder; leave it out: "
                "an encoder reads both ways already"
            )
        if not self.family.bidirectional:
            able = sorted(sheet.name for sheet in families.all() if sheet.bidirectional)
            raise OptionError(
                f"received bidirectional=True for {self.family.name}, whose attention would ignore it; "
                f"expected one of {', '.join(able)}; leave it out, or take one of these"
            )

    def _head_of_others(self, level: Level, config: Any) -> bool:
        """Whether the checkpoint was saved with a head of its own that is not the one asked for."""
        before = (getattr(self.config, "architectures", None) or [""])[0]
        if not before.endswith("Classification"):
            return False
        same_level = before.endswith("ForTokenClassification") == (level == "token")
        return not (same_level and self.config.id2label == config.id2label)

    def _refuse_random_base(self, model: Any, fresh: Sequence[str]) -> None:
        """A pooler may be missing; a layer that is would be noise that nobody is told of."""
        base = f"{model.base_model_prefix}."
        lost = [name for name in fresh if name.startswith(base) and "pooler" not in name]
        if lost:
            raise BackboneError(
                Fault(
                    f"a checkpoint without weights for {listing(lost, limit=4)}",
                    f"all weights of a {self.config.model_type} model",
                    "check that config.json and the weights belong together",
                    self.source,
                )
            )

    def _load(self, cls: Any, config: Any, dtype: Any, seed: int) -> tuple[Any, list[str]]:
        """A model of `cls` with the checkpoint's weights, and the names of the weights it lacks."""
        import torch

        # transformers would otherwise take the type the checkpoint was saved in: training needs float32
        # weights.
        with told(self.place), heads.drawn_under(seed):
            model, info = cls.from_pretrained(
                self.place.name,
                config=config,
                revision=self.place.revision,
                dtype=dtype or torch.float32,
                use_safetensors=True,
                local_files_only=self.place.offline,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **({"trust_remote_code": True} if self.trust_remote_code else {}),
            )
        lacking = set(info["missing_keys"]) | {name for name, *_ in info["mismatched_keys"]}
        return model, sorted(lacking)


def open_backbone(
    source: str | os.PathLike[str], *, revision: str | None = None, trust_remote_code: bool = False
) -> Backbone:
    """Open a checkpoint's config and tokenizer; no weights are read yet.

    Parameters
    ----------
    source : a local folder, a ``.gguf`` file, or a Hub id
    revision : a branch, tag or commit of a Hub id
    trust_remote_code : let the checkpoint's own code run
    """
    from transformers import AutoConfig, AutoTokenizer

    if not isinstance(source, str | os.PathLike):
        raise BackboneError(
            Fault(
                f"{source!r} as the backbone",
                "a folder, a Hub id, or a .gguf file",
                "name the checkpoint; a loaded learner whose base is unknown here has none to start from afresh",
            )
        )
    place = locate(source, revision)
    with told(place):
        place = pinned(place)
    options: dict[str, Any] = {
        "revision": place.revision,
        "trust_remote_code": trust_remote_code,
        "local_files_only": place.offline,
    }
    with told(place):
        config = AutoConfig.from_pretrained(place.name, **options)
        facts.refuse_unusable(place, config)
        tokenizer = AutoTokenizer.from_pretrained(place.name, **options)
    facts.refuse_empty(place, tokenizer)
    family = families.find(config)
    notes = facts.mend_padding(place, config, tokenizer, family)
    window, said = facts.real_window(config, tokenizer, family)
    embedding = facts.embedding_habits(place)
    if "unused" in embedding:
        said = [
            *said,
            f"its makers embed through a further layer, {embedding['unused']}, which nlptl does not use",
        ]
    return Backbone(
        source=os.fspath(source),
        revision=revision,
        commit=place.revision,
        config=config,
        tokenizer=tokenizer,
        family=family,
        window=window,
        embedding_window=min(window, embedding.get("window") or window),
        pooling=embedding.get("pooling") or family.pooling,
        normalize=bool(embedding.get("normalize")),
        place=place,
        trust_remote_code=trust_remote_code,
        notes=(*notes, *said),
    )
