"""What is known by its content: everything that changes a vector changes its key, nothing else does."""

from __future__ import annotations

import os
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nlptl import Compute, Embedder, NlptlWarning, OptionError
from nlptl.backbones import open_backbone
from nlptl.engine import predict, store
from nlptl.engine.cache import content, fetch, load_encoder
from nlptl.engine.items import Item
from nlptl.engine.runtime import Runtime
from nlptl.engine.tokenised import TOKENISED, Tokenised
from tests.kit.cells import PLAIN
from tests.kit.rows import TEXTS
from tests.kit.shelf import tiny


@pytest.fixture
def compute(tmp_path: Path) -> Compute:
    return replace(PLAIN, cache=tmp_path / "vectors")


@pytest.fixture
def passes(monkeypatch) -> list[int]:
    """How many rows each forward pass of an encoder had."""
    seen: list[int] = []
    plain = predict.unit_vectors

    def counted(encoder, batch, *rest):
        seen.append(batch.n_items)
        return plain(encoder, batch, *rest)

    monkeypatch.setattr(predict, "unit_vectors", counted)
    return seen


def forget() -> None:
    """As in a process that has just begun: nothing is in memory, everything is on disk."""
    for each in store._STORES.values():
        each.flush()
    store._STORES.clear()


def ids(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


def test_a_second_run_computes_nothing_and_has_the_same_bits(compute, passes):
    first = Embedder(tiny("bert"), compute=compute).fit_transform(TEXTS)
    assert sum(passes) == len(TEXTS)
    passes.clear()
    in_memory = Embedder(tiny("bert"), compute=compute).fit_transform(TEXTS)
    forget()
    on_disk = Embedder(tiny("bert"), compute=compute).fit_transform(TEXTS[::-1])[::-1]
    assert passes == []
    assert np.array_equal(first, in_memory) and np.array_equal(first, on_disk)


def test_only_what_is_missing_is_computed_and_each_content_once(compute, passes):
    embedder = Embedder(tiny("bert"), compute=compute)
    embedder.transform(TEXTS[:3])
    passes.clear()
    mixed = [TEXTS[5], TEXTS[0], TEXTS[6], TEXTS[5], TEXTS[2]]
    got = embedder.transform(mixed)
    assert sum(passes) == 2
    assert np.array_equal(got[0], got[3])
    np.testing.assert_allclose(got, Embedder(tiny("bert"), compute=PLAIN).fit_transform(mixed), atol=1e-6)


def test_off_computes_each_time(tmp_path, passes):
    for off in (False, None):
        embedder = Embedder(tiny("bert"), compute=replace(PLAIN, cache=off))
        embedder.transform(TEXTS)
        embedder.transform(TEXTS)
    assert sum(passes) == 4 * len(TEXTS)


@pytest.mark.parametrize(
    "other",
    [
        lambda c: Embedder(tiny("bert"), layer=1, compute=c),
        lambda c: Embedder(tiny("bert"), pooling="cls", compute=c),
        lambda c: Embedder(tiny("bert"), compute=replace(c, precision="bf16")),
        lambda c: Embedder(tiny("electra"), compute=c),
    ],
    ids=["layer", "pooling", "precision", "weights"],
)
def test_what_changes_a_vector_is_told_apart(other, compute, passes):
    Embedder(tiny("bert"), compute=compute).transform(TEXTS)
    alone = other(replace(compute, cache=False)).transform(TEXTS)
    passes.clear()
    again = other(compute).transform(TEXTS)
    assert sum(passes) == len(TEXTS)
    assert np.array_equal(again, alone)


def test_what_does_not_change_it_is_not(compute, passes):
    Embedder(tiny("bert"), normalize=False, compute=compute).transform(TEXTS)
    passes.clear()
    lengths = np.linalg.norm(Embedder(tiny("bert"), normalize=True, compute=compute).transform(TEXTS), axis=1)
    Embedder(str(tiny("bert")), compute=replace(compute, batch_tokens=16)).transform(TEXTS)
    assert passes == []
    np.testing.assert_allclose(lengths, 1, rtol=1e-6)


def test_weights_that_changed_in_their_place_are_other_weights(tmp_path, compute, passes):
    folder = tmp_path / "bert"
    shutil.copytree(tiny("bert"), folder)
    before = Embedder(folder, compute=compute).fit_transform(TEXTS)
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    save_file({name: w * 1.5 for name, w in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    os.utime(folder / "model.safetensors", ns=(1, 1))  # a file system may tell time coarsely
    passes.clear()
    after = Embedder(folder, compute=compute).fit_transform(TEXTS)
    assert sum(passes) == len(TEXTS) and not np.allclose(before, after)


def test_an_encoder_whose_file_changed_after_it_was_loaded_is_not_kept(tmp_path, compute):
    folder = tmp_path / "bert"
    shutil.copytree(tiny("bert"), folder)
    old = Embedder(folder, compute=compute).fit()
    shutil.copy(tiny("electra") / "model.safetensors", folder / "model.safetensors")
    os.utime(folder / "model.safetensors", ns=(1, 1))
    runtime = Runtime(compute)
    assert old._weights.identity() is None
    fetch([Item((ids(1),))], runtime, old._weights, {}, lambda items: [np.ones((1, 2), np.float32)] * len(items))
    assert runtime.describe()["cache"] == "off: the checkpoint's files have changed since they were loaded"


def test_code_that_a_checkpoint_brings_is_not_known_by_its_weights(compute):
    backbone = open_backbone(tiny("bert"))
    backbone.trust_remote_code, backbone.config.auto_map = True, {"AutoModel": "modeling.Model"}
    _, weights = load_encoder(open_backbone(tiny("bert")))
    weights.backbone = backbone
    assert weights.identity() is None and "code of its own" in weights.why_not


def test_two_rows_have_one_key_only_if_the_model_sees_the_same():
    one = Item((ids(1, 2, 3),))
    others = [
        Item((ids(1, 2), ids(3))),
        Item((ids(1), ids(2, 3))),
        Item((ids(1, 2, 3, 0),)),
        Item((ids(1, 2, 3),), types=(ids(0, 0, 0),)),
        Item((ids(1, 2, 3),), types=(ids(0, 0, 1),)),
        Item((ids(1, 2, 3),), units=np.array([[0, 0]]), words=ids(0), n_words=1),
        Item((ids(1, 2, 3),), units=np.array([[0, 1]]), words=ids(0), n_words=1),
        Item((ids(1, 2, 3),), units=np.array([[0, 0], [0, 1]]), words=ids(0, 1), n_words=2),
        Item((ids(1 + (2 << 32), 3),)),
    ]
    keys = [content(item) for item in (one, *others)]
    assert len(set(keys)) == len(keys)
    assert content(one) == content(Item((np.array([1, 2, 3], dtype=np.int32),), n_words=9))


def test_rows_without_a_unit_have_no_vector_and_the_width_of_the_rest(compute):
    _, weights = load_encoder(open_backbone(tiny("bert")))
    nothing = Item((ids(2, 3),), units=np.zeros((0, 2), np.int64), words=ids(), n_words=1)
    there = Item((ids(2, 7, 3),), units=np.array([[0, 1]]), words=ids(0), n_words=1)

    def ones(items):
        return [np.ones((item.n_units, 4), np.float32) for item in items]

    for rows in ([nothing, there, nothing], [there, nothing]):
        found = fetch(rows, Runtime(compute), weights, {}, ones)
        assert [f.shape for f in found] == [(row.n_units, 4) for row in rows]
    assert fetch([nothing], Runtime(compute), weights, {}, ones)[0].shape[0] == 0


def test_an_array_that_is_given_out_cannot_spoil_the_next(compute):
    _, weights = load_encoder(open_backbone(tiny("bert")))
    made = np.ones((1, 2), np.float32)
    rows = [Item((ids(1, 2),))]
    first = fetch(rows, Runtime(compute), weights, {}, lambda items: [made])
    made[:] = 7
    (again,) = fetch(rows, Runtime(compute), weights, {}, lambda items: [])
    assert (again == 1).all() and first[0] is made
    with pytest.raises(ValueError, match="read-only"):
        again[:] = 3


def test_memory_is_bounded_and_the_least_recently_used_go(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "IN_MEMORY", 40)
    small = store.Store(tmp_path / "vectors")
    small.bound = 1 << 20
    for n in range(10):
        small.add("m", [store.Entry(bytes([n]) * 16, np.full((1, 2), n, np.float32))])
        small.find("m", [bytes([0]) * 16])
    assert [key[1][0] for key in small._memory] == [6, 7, 8, 9, 0] and small._held == 40


def test_a_place_that_cannot_be_written_is_told_once_and_the_run_goes_on(tmp_path, passes):
    (tmp_path / "file").write_text("x")
    compute = replace(PLAIN, cache=tmp_path / "file" / "below")
    many = [f"{text} {n}" for n in range(9) for text in TEXTS]
    embedder = Embedder(tiny("bert"), compute=compute)
    with pytest.warns(NlptlWarning, match=r"received a folder that cannot be written, .*; expected one that can; this"):
        first = embedder.transform(many)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedder.transform([text + " again" for text in many])
    passes.clear()
    assert np.array_equal(embedder.transform(many), first) and passes == []  # memory still serves


def test_a_full_disk_is_told_and_leaves_nothing_half_written(compute, monkeypatch):
    def full(self, data):
        with self.open("wb") as stream:
            stream.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    runtime = Runtime(compute)
    _, weights = load_encoder(open_backbone(tiny("bert")))
    rows = [Item((ids(n, 2),)) for n in range(100)]
    with pytest.warns(NlptlWarning, match=r"No space left on device"):
        fetch(rows, runtime, weights, {}, lambda items: [np.ones((1, 2), np.float32) for _ in items])
    assert not [p for p in Path(compute.cache).rglob("*") if p.is_file()]
    assert runtime.describe()["cache"] == "0 of 100 rows taken from it; not written: No space left on device"


def test_what_a_run_took_is_told(compute):
    assert Runtime(PLAIN).describe()["cache"] == "off"
    runtime = Runtime(compute)
    assert runtime.describe()["cache"] == "not used"
    _, weights = load_encoder(open_backbone(tiny("bert")))
    rows = [Item((ids(n, 2),)) for n in range(1500)]
    for _ in range(2):
        fetch(rows, runtime, weights, {}, lambda items: [np.ones((1, 2), np.float32) for _ in items])
    told = runtime.describe()["cache"]
    assert told == "1,500 of 3,000 rows taken from it, with the bits of the batches they were computed in"
    assert str(compute.cache) not in told  # a bundle's record is published


def test_auto_is_below_the_caches_of_nlptl(tmp_path, monkeypatch):
    monkeypatch.setenv("NLPTL_CACHE", str(tmp_path))
    for on in ("auto", True):
        assert Runtime(replace(PLAIN, cache=on)).cache.store.root == tmp_path / "vectors"
    own = Runtime(replace(PLAIN, cache=str(tmp_path / "own"), cache_gib=0.5)).cache.store
    assert own.root == tmp_path / "own" and own.bound == 1 << 29


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cache": "off"}, r"Compute\(cache=…\): received 'off'; expected 'auto', a folder's path or False"),
        ({"cache": 3.5}, r"received 3.5; expected 'auto', a folder's path or False"),
        ({"cache": __file__}, r"which is a file; expected a folder"),
        ({"cache_gib": 0}, r"Compute\(cache_gib=…\): received 0; expected a number above 0"),
        ({"cache_gib": "2"}, r"received '2'; expected a number above 0"),
    ],
)
def test_a_wrong_cache_is_refused_in_three_parts(options, said):
    with pytest.raises(OptionError, match=said):
        Compute(**options)


def test_few_rows_wait_for_the_end_of_the_process(compute):
    Embedder(tiny("bert"), compute=compute).transform(TEXTS[:2])
    written = list(Path(compute.cache).rglob("*.safetensors"))
    forget()
    assert written == [] and len(list(Path(compute.cache).rglob("*.safetensors"))) == 1


def test_a_folder_that_was_emptied_meanwhile_is_not_made_again(compute):
    Embedder(tiny("bert"), compute=compute).transform(TEXTS[:2])
    shutil.rmtree(compute.cache)
    forget()
    assert not Path(compute.cache).exists()


def test_rows_are_tokenised_once_and_the_least_recently_used_go():
    asked: list[list[str]] = []

    def make(rows):
        asked.append(rows)
        return [(Item((ids(len(row)),)), (1,)) for row in rows]

    kept = Tokenised(bound=3 * 680)
    got = kept.rows("t", ["a", "bb", "a"], make)
    assert [int(item.windows[0][0]) for item, _ in got] == [1, 2, 1] and asked == [["a", "bb"]]
    kept.rows("t", ["bb", "a"], make)
    assert len(asked) == 1
    kept.rows("other", ["a"], make)
    kept.rows("t", ["ccc"], make)
    assert asked[1:] == [["a"], ["ccc"]]
    kept.rows("t", ["a", "bb"], make)
    assert asked[3:] == [["bb"]]


def test_what_passes_by_in_a_stream_is_kept_on_disk_alone(compute, passes):
    many = [f"{text} passing {n}" for n in range(20) for text in TEXTS]
    embedder = Embedder(tiny("bert"), compute=compute)
    parts = list(embedder.stream(iter(many), chunk_rows=80))
    assert not any(each._memory for each in store._STORES.values() if each.root == compute.cache)
    assert not any(key[1] == many[0] for key in TOKENISED._kept)
    passes.clear()
    assert np.array_equal(np.concatenate(parts), np.concatenate(list(embedder.stream(iter(many), chunk_rows=50))))
    assert passes == []


def test_the_same_text_in_two_tokenizers_has_two_sets_of_ids():
    from nlptl.tasks.base import WindowSize
    from nlptl.tasks.inputs import prepare_texts

    size = WindowSize(32, 8)
    one, other = (prepare_texts(open_backbone(tiny(f)), TEXTS, size).items for f in ("bert", "gpt2"))
    same = prepare_texts(open_backbone(tiny("bert")), TEXTS, size).items
    shorter = prepare_texts(open_backbone(tiny("bert")), TEXTS, WindowSize(8, 2)).items
    assert all(a is b for a, b in zip(one, same, strict=True))
    assert not any(content(a) == content(b) for a, b in zip(one, other, strict=True))
    assert any(len(a.windows) != len(b.windows) for a, b in zip(one, shorter, strict=True))


def test_a_token_that_was_added_is_seen():
    from nlptl.tasks.base import WindowSize
    from nlptl.tasks.inputs import prepare_texts

    backbone = open_backbone(tiny("bert"))
    size = WindowSize(32, 8)
    before = prepare_texts(backbone, ["zebra good"], size).items[0]
    backbone.tokenizer.add_tokens(["zebra"])
    assert prepare_texts(backbone, ["zebra good"], size).items[0].tokens < before.tokens


def test_inference_tensors_are_not_kept_alive(compute):
    """What is kept is an array of its own: a view would hold a whole batch in memory."""
    _, weights = load_encoder(open_backbone(tiny("bert")))
    batch = torch.ones(100, 2).numpy()
    runtime = Runtime(compute)
    fetch([Item((ids(9),))], runtime, weights, {}, lambda items: [batch[:1]])
    assert all(kept.base is None for kept in runtime.cache.store._memory.values())
