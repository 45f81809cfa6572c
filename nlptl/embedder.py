"""The frozen encoder as a plain sklearn transformer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from nlptl.backbones import open_backbone
from nlptl.backbones.pooling import POOLINGS, pool
from nlptl.data.examples import Examples, Schema
from nlptl.data.sources import read
from nlptl.engine.compute import Compute
from nlptl.engine.items import Item
from nlptl.engine.predict import embed
from nlptl.engine.runtime import Runtime
from nlptl.errors import OptionError, did_you_mean, listing
from nlptl.modes.base import window_of
from nlptl.modes.frozen import unit_length
from nlptl.streams import CHUNK_ROWS, Flow, run
from nlptl.tasks.base import Array, Prepared
from nlptl.tasks.inputs import prepare_texts

SCHEMA = Schema(level="sequence")


class Embedder(TransformerMixin, BaseEstimator):
    """Texts to vectors, for any sklearn pipeline.

    Parameters
    ----------
    backbone : a folder, a Hub id, or a ``.gguf`` file
    pooling : "auto" is what the checkpoint says, else its family's; "mean", "cls", "last", "max"
    layer : which layer's output, as in `hidden_states`; None is the last
    normalize : vectors of length 1; "auto" is what the checkpoint says
    max_length : tokens a window; longer texts are windowed and averaged
    compute : where and how the work is done

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline  # doctest: +SKIP
    >>> encoder = Embedder("sentence-transformers/all-MiniLM-L6-v2")  # doctest: +SKIP
    >>> make_pipeline(encoder, LogisticRegression()).fit(texts, labels)  # doctest: +SKIP
    """

    def __init__(
        self,
        backbone: Any,
        *,
        pooling: str = "auto",
        layer: int | None = None,
        normalize: bool | str = "auto",
        max_length: int | None = None,
        compute: Compute = Compute(),  # noqa: B008  frozen, and shown in the signature
        revision: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        self.backbone = backbone
        self.pooling = pooling
        self.layer = layer
        self.normalize = normalize
        self.max_length = max_length
        self.compute = compute
        self.revision = revision
        self.trust_remote_code = trust_remote_code

    def fit(self, X: Any = None, y: Any = None) -> Self:
        """Nothing is learnt; the checkpoint is opened, so that a wrong name is told here."""
        self._open()
        return self

    def transform(self, X: Any) -> Array:
        """Vectors: (texts, width), float32."""
        if not hasattr(self, "_encoder"):
            self._open()
        if not isinstance(X, str) and hasattr(X, "__len__") and not len(X):
            return np.zeros((0, self.n_features_out_), dtype=np.float32)
        examples = read(X, schema=SCHEMA, targets="none", name="X")
        return self._vectors(self._prepare(examples).items, self._runtime())

    def stream(
        self,
        source: Any,
        *,
        columns: Any = None,
        chunk_rows: int = CHUNK_ROWS,
        start: int = 0,
        check: bool = False,
    ) -> Iterator[Array]:
        """Vectors in parts of `chunk_rows` rows, (rows, width) each, at the memory of one of them.

        Parameters
        ----------
        source : what `transform` takes, and any iterable of texts, be it endless; a file is never in memory whole
        columns, chunk_rows, start, check : as in `Learner.stream`
        """
        if not hasattr(self, "_encoder"):
            self._open()
        flow = Flow(source, SCHEMA, columns, chunk_rows, start, check)
        parts = run(flow, self._runtime(), "embed", self._prepare, self._vectors)
        return (vectors[passed:] for passed, _, _, vectors in parts)

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the columns, as sklearn's ``set_output`` asks for them."""
        return np.array([f"embedder{i}" for i in range(self.n_features_out_)], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_encoder")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.requires_fit = False
        return tags

    def _prepare(self, examples: Examples) -> Prepared:
        longest = self._opened.embedding_window if self.max_length is None else self.max_length
        return prepare_texts(self._opened, examples.inputs, window_of(longest, None, self._opened.window))

    def _vectors(self, items: Sequence[Item], runtime: Runtime) -> Array:
        how = self._opened.pooling if self.pooling == "auto" else self.pooling
        vectors = embed(
            self._encoder,
            items,
            runtime,
            pad_id=self._opened.pad_id,
            pool=lambda hidden, mask: pool(hidden, mask, how),
            layer=self.layer,
        )
        flat = np.concatenate(vectors)
        wanted = self._opened.normalize if isinstance(self.normalize, str) else self.normalize
        return unit_length(flat) if wanted else flat

    def _runtime(self) -> Runtime:
        return Runtime(replace(self.compute, trackers=()))

    def _open(self) -> None:
        if self.pooling not in ("auto", *POOLINGS):
            raise OptionError(
                f"Embedder(pooling=…): received {self.pooling!r}; expected 'auto' or one of {listing(POOLINGS)}; "
                f"choose one.{did_you_mean(self.pooling, POOLINGS)}"
            )
        self._opened = open_backbone(self.backbone, revision=self.revision, trust_remote_code=self.trust_remote_code)
        self._encoder = self._opened.encoder()
        self.n_features_out_ = self._opened.width
