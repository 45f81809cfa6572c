"""The learner: wiring, and nothing but."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from nlptl import modes, tasks
from nlptl.backbones import open_backbone
from nlptl.bundle import card, fetch, push, storage
from nlptl.bundle.export import export
from nlptl.bundle.merge import merged
from nlptl.data.examples import Examples
from nlptl.data.labels import Label
from nlptl.data.sources import read
from nlptl.engine.checkpoint import Checkpoints
from nlptl.engine.compute import Compute
from nlptl.engine.options import TrainingOptions
from nlptl.engine.runtime import Runtime
from nlptl.errors import NotFittedError, OptionError
from nlptl.metrics import PRIMARY
from nlptl.modes.base import Held, Job
from nlptl.parameters import Parameters
from nlptl.report import Record, Report, make_report
from nlptl.rows import Rows, check_kind, gather, remembered, warn_of
from nlptl.streams import (
    CHUNK_ROWS,
    Answer,
    Flow,
    Scored,
    answers,
    gathered,
    predictions,
    probabilities,
    scored,
)
from nlptl.tasks.base import Array, Prepared
from nlptl.tasks.sentiment import Sentiment

log = logging.getLogger("nlptl")


class Learner(Parameters):
    """Adapts a pretrained checkpoint to your own text.

    Parameters
    ----------
    backbone : a folder, a Hub id, or a ``.gguf`` file
    task : "classification", "sentiment", "ner", or an object such as ``Sentiment(scale="stars")``
    mode : "frozen", "full", "lora", or an object such as ``LoRA(rank=16)``
    compute : where and how the work is done
    seed : of everything that is drawn
    revision : of a Hub id
    trust_remote_code : run code that the checkpoint brings along; off unless said

    Attributes
    ----------
    classes_ : the labels, in the order of `predict_proba`
    record_ : what was read, chosen and counted
    history_ : one entry an epoch
    commit_ : of a loaded learner, the commit of the Hub that it is; None for a folder

    Examples
    --------
    >>> learner = Learner("bert-base-uncased", task="sentiment", mode="lora")  # doctest: +SKIP
    >>> learner.fit("reviews.csv", eval=0.1).predict(["Not bad at all."])  # doctest: +SKIP
    array(['positive'], dtype='<U8')
    """

    def __init__(
        self,
        backbone: Any,
        *,
        task: Any = "classification",
        mode: Any = "lora",
        compute: Compute = Compute(),  # noqa: B008  frozen, and shown in the signature
        seed: int = 0,
        revision: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        self.backbone = backbone
        self.task = task
        self.mode = mode
        self.compute = compute
        self.seed = seed
        self.revision = revision
        self.trust_remote_code = trust_remote_code

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        eval: Any = None,
        columns: Any = None,
        labels: Sequence[Label] | None = None,
        sample_weight: Any = None,
        run_dir: str | Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Learn from rows; a second `fit` starts afresh.

        Parameters
        ----------
        X : texts, pairs, lists of words, a frame, a dataset, or the path of a file
        y : targets, where X does not hold them
        eval : rows held out: a source, ``(X, y)``, or a fraction of the training rows
        columns : role -> column, such as ``{"text": "review", "label": "stars"}``
        labels : every label, in the order wanted
        sample_weight : one weight a row
        run_dir : where checkpoints and the logs of trackers go
        resume : go on from the newest checkpoint in `run_dir`
        """
        _check_run(self.seed, run_dir, resume)
        started = time.perf_counter()
        task, mode = tasks.resolve(self.task), modes.resolve(self.mode)
        if mode.name == "frozen" and run_dir is not None:
            raise OptionError(
                f"fit(run_dir={str(run_dir)!r}): received a place for checkpoints in mode 'frozen', which makes none; "
                "expected no run_dir; leave it out, and save the learner"
            )
        if run_dir is None and isinstance(mode, TrainingOptions):
            mode.check_without_run()
        record = Record()
        rows = gather(
            task, X, y, eval=eval, columns=columns, labels=labels, sample_weight=sample_weight, seed=self.seed,
            record=record,
        )  # fmt: skip
        backbone = open_backbone(self.backbone, revision=self.revision, trust_remote_code=self.trust_remote_code)
        runtime = Runtime(self._compute(), logs=None if run_dir is None else Path(run_dir) / "logs")
        size = mode.window(backbone)
        job = Job(
            backbone=backbone,
            task=task,
            space=rows.space,
            prepared=task.prepare(backbone, rows.train.inputs, size),
            gold=rows.gold,
            weights=rows.train.weights,
            held=None if rows.held is None else Held(task.prepare(backbone, rows.held.inputs, size), rows.held_gold),
            runtime=runtime,
            seed=self.seed,
            checkpoints=self._checkpoints(run_dir, task, mode, rows),
            resume=resume,
            numbers=rows.train.origin.rows,
            source=rows.train.origin.name,
        )
        runtime.start_trackers({"task": task.name, "mode": mode.name, "seed": self.seed})
        fitted = mode.fit(job)
        runtime.end_trackers()
        self._contents = storage.Contents(task, mode, rows.space, fitted, backbone, self.seed, {}, list(fitted.history))
        self._close(job, record, started)
        return self

    def predict(self, X: Any) -> Any:
        """Labels (or numbers, tags, entities) in the form that the targets had."""
        return gathered(self._scored_rows(X), lambda part: predictions(self._known, part))

    def predict_proba(self, X: Any) -> Any:
        """Probabilities in the order of `classes_`: (rows, labels), or for NER one (words, labels) a sentence."""
        return gathered(self._scored_rows(X), lambda part: probabilities(self._known, part))

    def stream(
        self, source: Any, *, columns: Any = None, chunk_rows: int = CHUNK_ROWS, start: int = 0, check: bool = False
    ) -> Iterator[Answer]:
        """Answers one by one, in the order of the rows, at the memory of a few thousand rows however many there are.

        Parameters
        ----------
        source : a file (CSV, TSV, JSONL, TXT, Parquet, Arrow, CoNLL) or anything else that `predict` takes, and any
            iterable of rows, be it endless; a .json file is one value, and so read whole
        columns : role -> column; as at `fit` where it is left out
        chunk_rows : rows that are read, sorted by length and batched together
        start : rows to pass over: an answer has the same bits wherever the stream began
        check : read the source through first, so that all of its faults are told before the first answer
        """
        known = self._known
        named = remembered(self.record_, source, targets=False) if columns is None else columns
        flow = Flow(source, known.task.schema, named, chunk_rows, start, check)
        return answers(known, self.record_, flow, self._runtime())

    def polarity(self, X: Any) -> Array:
        """Sentiment as one number in -1…1 a row."""
        known, task = self._known, self._known.task
        if not isinstance(task, Sentiment):
            raise OptionError(
                f"polarity: received a learner of task {task.name!r}; expected task='sentiment'; use predict"
            )
        found: Array = gathered(self._scored_rows(X), lambda part: task.polarity(part.scores, known.space))
        return found

    def score(self, X: Any, y: Any = None) -> float:
        """Accuracy, micro-F1 (several labels), R² (stars), or strict span-F1 (NER)."""
        known = self._known
        return float(self._report(X, y)[PRIMARY[known.space.problem]])

    def evaluate(self, source: Any, y: Any = None, *, columns: Any = None) -> Report:
        """Metrics with their intervals, by label, with what was counted on the way; the card tells the last ones."""
        report = self._report(source, y, columns)
        self.record_.evaluation = card.evaluation(report)
        return report

    def _report(self, source: Any, y: Any, columns: Any = None) -> Report:
        known = self._known
        named = remembered(self.record_, source, targets=y is None) if columns is None else columns
        examples = read(source, y, schema=known.task.schema, columns=named, split="test", name="source")
        gold, counts = known.task.gold(examples, known.space)
        started = time.perf_counter()
        runtime = self._runtime()
        prepared, scores = self._scored(examples, runtime)
        numbers = known.task.decode(scores, prepared, known.space)
        chances = None
        if known.space.problem in ("single", "multi"):
            chances = known.task.probabilities(scores, prepared, known.space)
        trainable, total = known.fitted.parameters
        return make_report(
            known.space.problem,
            known.task.for_metrics(gold, known.space),
            known.task.for_metrics(numbers, known.space),
            list(known.space.reported) or None,
            probabilities=chances,
            task=f"{known.task.name}, {known.mode.name}",
            source=examples.origin.name,
            counts={**prepared.counts, **counts},
            choices={**runtime.describe(), **known.fitted.choices},
            seconds=time.perf_counter() - started,
            trainable_parameters=trainable,
            total_parameters=total,
        )

    def save(self, folder: str | Path) -> Path:
        """Write all that was learnt into a folder, load it again, and compare, before it counts as saved."""
        known = replace(self._known, record=self.record_.to_dict(), history=self.history_)
        # What is compared must be computed: vectors from the cache would say nothing of what was saved.
        runtime = Runtime(replace(self._compute(), trackers=(), cache=False))
        place = Path(folder)
        score = _probe_scores(runtime.alone())
        runtime.on_main(lambda: storage.save(known, place, score, trust_remote_code=self.trust_remote_code))
        return place

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        tag: str | None = None,
        create_pr: bool = False,
        base_model: str | None = None,
    ) -> push.Pushed:
        """Save the learner aside and put it on the Hub in one commit; what is there already is not pushed again.

        Parameters
        ----------
        repo_id : user/name; made where it is not there
        private : of a new repository; None is as the account has it
        revision : the branch; made where it is not there
        tag : put on the commit
        create_pr : offer it as a pull request
        base_model : the Hub id of a base that was opened from a folder, proved by its weights
        """
        options = push.PushOptions(private, revision, tag, create_pr, base_model)
        return push.saved(self.save, repo_id, options, is_main=self._runtime().is_main)

    def export(self, folder: str | Path, to: str = "onnx") -> Path:
        """Write a full or merged model as ONNX, its tokenizer beside it, its logits compared by onnxruntime."""
        return export(replace(self._known, record=self.record_.to_dict()), Path(folder), to)

    def merge(self) -> Learner:
        """A new learner of mode full, its adapters folded into its base; the logits of both are compared in fp32."""
        known = merged(replace(self._known, record=self.record_.to_dict()), _probe_scores(self._plain()))
        whole = Learner(self.backbone, task=self.task, mode=known.mode, compute=self.compute, seed=self.seed)
        whole.set_params(revision=self.revision, trust_remote_code=self.trust_remote_code)
        whole._take(known, Record.from_dict(known.record))
        return whole

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        backbone: str | Path | None = None,
        revision: str | None = None,
        trusted: Sequence[str] = (),
        allow_base_drift: bool = False,
        trust_remote_code: bool = False,
    ) -> Self:
        """A learner from the folder that `save` wrote, or from the Hub.

        Parameters
        ----------
        source : the folder, or a Hub id
        backbone : where its base is, if the bundle cannot say: a base opened from a local folder
        revision : of a Hub id
        trusted : further types that an sklearn head may hold
        allow_base_drift : go on with a base whose weights are not those of the training
        trust_remote_code : run code that the base brings along
        """
        found = fetch.fetch(source, revision)
        known = storage.load(
            found.folder,
            base=backbone,
            trusted=trusted,
            allow_base_drift=allow_base_drift,
            trust_remote_code=trust_remote_code,
            scorer=_probe_scores(Runtime(Compute(precision="fp32", progress=False)).alone()),
        )
        place, commit = storage.base_source(known.base) if backbone is None else (backbone, None)
        learner = cls(
            place,
            task=known.task,
            mode=known.mode,
            seed=known.seed,
            revision=commit,
            trust_remote_code=trust_remote_code,
        )
        learner._take(known, Record.from_dict(known.record))
        learner.commit_ = found.commit
        return learner

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_contents")

    @property
    def _known(self) -> storage.Contents:
        if not hasattr(self, "_contents"):
            raise NotFittedError(
                "received a learner that has not learnt yet; expected fit(…) before this; call fit, or Learner.load"
            )
        return self._contents

    def _runtime(self) -> Runtime:
        """The machine for all but training: trackers are told of a run, not of predictions."""
        return Runtime(replace(self._compute(), trackers=()))

    def _plain(self) -> Runtime:
        """This process alone, in float32 and without a bar: for comparing scores."""
        return Runtime(replace(self._compute(), trackers=(), precision="fp32", progress=False)).alone()

    def _checkpoints(self, run_dir: Any, task: Any, mode: Any, rows: Rows) -> Checkpoints | None:
        if run_dir is None:
            return None
        recipe = {
            "backbone": str(self.backbone),
            "revision": self.revision,
            "task": repr(task),
            "mode": mode.name,
            **{f"mode.{name}": value for name, value in mode.identity().items()},
            "seed": int(self.seed),
            "labels": list(rows.space.names),
            "data": rows.digest(),
        }
        return Checkpoints(Path(run_dir) / "checkpoints", recipe, keep=mode.checkpoints_kept)

    def _scored_rows(self, X: Any) -> Iterator[Scored]:
        """Rows to predict on, all of them checked before the first one is scored."""
        known = self._known
        if not isinstance(X, str | Path) and hasattr(X, "__len__") and not len(X):
            return iter(())
        rows = list(X) if isinstance(X, Iterator) else X
        named = remembered(self.record_, rows, targets=False)
        flow = Flow(rows, known.task.schema, named, check=True, name="X")
        return scored(known, self.record_, flow, self._runtime())

    def _scored(self, examples: Examples, runtime: Runtime) -> tuple[Prepared, list[Array]]:
        known = self._known
        check_kind(examples, self.record_)
        prepared = known.task.prepare(known.backbone, examples.inputs, known.mode.window(known.backbone))
        warn_of(prepared.counts)
        return prepared, known.fitted.scores(prepared.items, runtime)

    def _close(self, job: Job, record: Record, started: float) -> None:
        """After training: thresholds from the held-out rows, and the record."""
        known, runtime = self._contents, job.runtime
        if job.held is not None:
            scores = known.fitted.scores(job.held.prepared.items, runtime)
            known.space = known.task.tune(known.space, job.held.gold, scores)
        for name, number in job.prepared.counts.items():
            record.count(name, number)
        record.choices = {
            **runtime.describe(),
            "window": f"at most {known.mode.window(job.backbone).length} tokens",
            **known.fitted.choices,
        }
        trainable, total = known.fitted.parameters
        record.training = {
            "seconds": round(time.perf_counter() - started, 2),
            "trainable_parameters": trainable,
            "total_parameters": total,
        }
        record.note(*known.fitted.notes)
        warn_of(record.counts)
        for note in record.notes:
            log.info("%s", note)
        self._take(known, record)

    def _take(self, known: storage.Contents, record: Record) -> None:
        self._contents = known
        self.commit_: str | None = None
        self.record_ = record
        self.history_ = known.history
        values = known.space.values
        if known.space.problem == "regression":
            self.__dict__.pop("classes_", None)
        else:
            self.classes_ = np.array(values)


def _check_run(seed: Any, run_dir: Any, resume: bool) -> None:
    """What can be told before a row is read."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise OptionError(f"seed={seed!r}: received no such number; expected a whole number of 0 or more; 0 will do")
    if run_dir is None and resume:
        raise OptionError("fit(resume=True): received no run_dir; expected the one of the run to go on; name it")
    if run_dir is not None and (not isinstance(run_dir, str | Path) or Path(run_dir).is_file()):
        raise OptionError(
            f"run_dir={run_dir!r}: received no folder; expected the path of one, new or old; name another"
        )


def _probe_scores(runtime: Runtime) -> storage.Scorer:
    def score(known: storage.Contents, texts: Sequence[str]) -> list[Array]:
        inputs = list(texts)
        prepared = known.task.prepare(known.backbone, inputs, known.mode.window(known.backbone))
        return known.fitted.scores(prepared.items, runtime)

    return score
