"""Where a checkpoint is looked for, and the three parts of what is said when it is not there."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys

import pytest

from nlptl.backbones import open_backbone, sources
from nlptl.errors import BackboneError, MissingExtraError, OptionError


@pytest.fixture
def folder(tmp_path):
    """A folder with one of everything that is not a checkpoint."""
    contents = {
        "empty": {},
        "pickled": {"config.json": '{"model_type": "bert"}', "pytorch_model.bin": "x"},
        "weightless": {"config.json": '{"model_type": "bert"}'},
        "adapter": {"adapter_config.json": "{}", "adapter_model.safetensors": "x"},
        "two": {"a.gguf": "x", "b.gguf": "x"},
        "torn": {"config.json": '{"model_type": "bert"', "model.safetensors": "x"},
        "untyped": {"config.json": "{}", "model.safetensors": "x"},
        "coded": {
            "config.json": '{"model_type": "own", "auto_map": {"AutoConfig": "c.C", "AutoModel": "m.M"}}',
            "model.safetensors": "x",
        },
    }
    for name, files in contents.items():
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
    (tmp_path / "notes.txt").write_text("x")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "received", "expected", "remedy"),
    [
        ("empty", "a folder without a checkpoint", "config.json", "name the checkpoint's folder"),
        ("pickled", r"without \*.safetensors", r"a pickle \(\*.bin\) can run code", "convert it once: python -c"),
        ("weightless", "a folder without weights", r"\*.safetensors", "copy the weights"),
        ("adapter", "an adapter and no checkpoint", "the checkpoint that", "Learner.load"),
        ("two", r"2 GGUF files \(a.gguf, b.gguf\)", "one", "name the file"),
        ("torn", "not a valid JSON", "a whole checkpoint", "fetch it again"),
        ("untyped", "model_type", "a whole checkpoint", "fetch it again"),
        ("coded", "code of its own", "transformers itself", "trust_remote_code=True"),
        ("notes.txt", r"the file .*notes.txt", "a checkpoint's folder", "name the folder it is in"),
        ("pickle", "which is not there", "a folder with config.json", "check the path.*Did you mean 'pickled'?"),
        ("no/such/place", "which is not there", "a folder with config.json", "the nearest folder"),
        ("model.gguf", "which is not there", r"a .gguf file", "check the path"),
    ],
)
def test_what_is_no_checkpoint_is_refused_in_three_parts(folder, name, received, expected, remedy):
    with pytest.raises(BackboneError, match=rf"received .*{received}.*; expected .*{expected}.*; .*{remedy}") as error:
        open_backbone(folder / name)
    assert "\n" not in str(error.value)


def test_a_local_path_has_no_revisions(checkpoint):
    with pytest.raises(OptionError, match=r"received revision='main' .*; expected no revision.*; leave it out"):
        open_backbone(checkpoint("bert"), revision="main")


def test_a_local_folder_is_opened_without_asking_a_network(checkpoint, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    backbone = open_backbone(checkpoint("gpt2"))
    backbone.encoder()
    assert backbone.fingerprint()


def test_a_relative_name_that_exists_goes_before_the_hub(checkpoint, monkeypatch):
    monkeypatch.chdir(checkpoint("bert").parent)
    name = checkpoint("bert").name
    assert open_backbone(name).place.local
    assert open_backbone(name).local is not None
    assert open_backbone(name).public_id is None


def _asked_offline(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for variable in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)

    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)


@pytest.mark.parametrize("told", [True, False])
def test_a_missing_network_is_said_in_one_line_and_at_once(monkeypatch, caplog, told):
    """Whether the machine was told to stay offline or finds out by itself."""
    if not told:
        _asked_offline(monkeypatch)
        # The Hub's client would try again and again for twenty seconds: it is not asked at all.
        assert sources.locate("nobody/nothing").offline
    with caplog.at_level(logging.WARNING), pytest.raises(BackboneError) as error:
        open_backbone("nobody/nothing")
    assert "the Hub cannot be reached; expected a network, or a checkpoint" in str(error.value)
    assert "go online once" in str(error.value)
    assert "\n" not in str(error.value)
    assert not caplog.records


def test_with_a_network_the_hub_is_asked(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(sources, "hub_in_reach", lambda: True)
    assert sources.locate("gpt2", "main") == sources.Place("gpt2", local=False, revision="main", offline=False)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("GatedRepoError", "which is gated; expected access to it; accept its terms.*hf auth login"),
        ("RevisionNotFoundError", "'me/it' at revision 'v9', which it does not have; expected a revision it has; look"),
        (
            "RepositoryNotFoundError",
            "neither a path here nor a checkpoint on the Hub.*; expected.*; check the spelling",
        ),
        ("HfHubHTTPError", "whose download failed .*; expected a whole download; try again"),
        ("LocalEntryNotFoundError", "the Hub cannot be reached; expected a network"),
    ],
)
def test_what_the_hub_answers_is_told_apart(kind, message):
    from huggingface_hub import errors

    cls = getattr(errors, kind)
    with pytest.raises(BackboneError, match=f"received .*{message}"), sources.told(_hub_place()):
        try:
            raise cls.__new__(cls)
        except Exception as error:
            raise OSError("transformers says it at length") from error


def test_a_pickle_on_the_hub_is_refused_too():
    said = "me/it does not appear to have a file named model.safetensors but there is a file pytorch_model.bin"
    refused = pytest.raises(BackboneError, match=r"received .*without .*; expected .*pickle.*; .*convert it once")
    with refused, sources.told(_hub_place()):
        raise OSError(said)


def test_running_out_of_memory_is_not_taken_for_a_bad_checkpoint():
    with pytest.raises(MemoryError), sources.told(_hub_place()):
        raise MemoryError


def test_quiet_puts_everything_back(monkeypatch):
    from transformers.utils import logging as hf_logging

    monkeypatch.setattr(logging.getLogger("transformers"), "level", logging.INFO)
    hf_logging.enable_progress_bar()
    before = logging.INFO, True
    with pytest.raises(KeyError), sources.quiet():
        assert logging.getLogger("transformers").level == logging.ERROR
        raise KeyError
    assert (logging.getLogger("transformers").level, hf_logging.is_progress_bar_enabled()) == before


def test_importing_the_backbones_loads_nothing_heavy():
    code = (
        "import sys, nlptl.backbones, nlptl.backbones.pieces, nlptl.backbones.families as f; f.all(); "
        "print([m for m in ('torch', 'transformers', 'huggingface_hub', 'peft') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_gguf_file_needs_its_extra(tmp_path, monkeypatch):
    from nlptl.backbones import gguf

    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(gguf.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"received .*m.gguf.*; expected .*; pip install nlptl\[gguf\]"):
        open_backbone(tmp_path / "m.gguf")


def _hub_place():
    return sources.Place("me/it", local=False, revision="v9")
