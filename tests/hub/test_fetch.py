"""What comes from the Hub is one commit of it, whole and unaltered, or nothing; and it comes back without a network."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from nlptl import BackboneError, BundleError, HubError, Learner, OptionError
from nlptl.bundle import fetch as fetching
from nlptl.bundle import manifest as manifests
from nlptl.bundle.fetch import fetch
from nlptl.bundle.push import PushOptions, push
from tests.kit.cells import PLAIN, Cell, fitted, same_bits, scores
from tests.kit.hub import STRANGER, Fault
from tests.kit.rows import TEXTS
from tests.kit.shelf import tiny

LORA, FULL = (Cell("sentiment", mode, "bert") for mode in ("lora", "full"))
ID = "tester/mood"


@pytest.fixture
def there(hub, tmp_path, fresh_cache):
    """A LoRA bundle on the Hub, with its base; this machine knows neither."""
    hub.create("tester/base", {p.name: p.read_bytes() for p in tiny("bert").iterdir()})
    push(fitted(LORA).save(tmp_path / "bundle"), ID, PushOptions(base_model="tester/base"))
    fresh_cache()
    hub.requests.clear()
    return hub.repos[ID]


def got(source=ID, revision=None):
    return fetch(source, revision, sleep=lambda seconds: None)


def altered(repo, name, data, *, rehash=False):
    """A commit in which one file is another."""
    head = repo.find("main")
    files = {**head.files, name: data}
    if rehash:
        body = json.loads(files["nlptl.json"])["manifest"]
        body["files"][name] = manifests._digest(data)
        text = json.dumps(body, sort_keys=True)
        files["nlptl.json"] = json.dumps({"sha256": manifests._digest(text), "manifest": body}).encode()
    repo.add(files, head.id, "refs/heads/main")


def test_what_is_loaded_is_the_commit_and_what_was_learnt(there, hub):
    first = there.refs["refs/heads/main"]
    learner = Learner.load(ID)
    learner.compute = PLAIN
    assert learner.commit_ == first and learner.backbone == "tester/base"
    assert learner.revision == hub.repos["tester/base"].refs["refs/heads/main"]
    assert same_bits(scores(learner, TEXTS), scores(fitted(LORA), TEXTS))
    # The base moves, and the bundle: neither is loaded in the place of what is meant.
    altered(hub.repos["tester/base"], "model.safetensors", b"other weights")
    altered(there, "tokenizer.json", b"{}")
    learner = Learner.load(ID, revision=first)
    learner.compute = PLAIN
    assert learner.commit_ == first
    assert same_bits(scores(learner, TEXTS), scores(fitted(LORA), TEXTS))
    with pytest.raises(BundleError, match=r"received tokenizer.json, which is not the file that was pushed"):
        Learner.load(ID)


def test_only_what_the_manifest_names_is_fetched(there, hub):
    altered(there, "model.safetensors", b"a base that nobody asked for")
    altered(there, "evil.py", b"import os")
    folder = got().folder
    names = {p.name for p in folder.iterdir()}
    assert names == {"nlptl.json", *json.loads((folder / "nlptl.json").read_text())["manifest"]["files"]}


def test_an_edited_card_does_no_harm(there):
    altered(there, "README.md", b"# edited on the Hub\n")
    assert Learner.load(ID).commit_ == there.refs["refs/heads/main"]


@pytest.mark.parametrize("name", ["tokenizer.json", "adapter_model.safetensors", "adapter_config.json", "nlptl.json"])
def test_what_was_altered_on_the_hub_is_refused(there, name):
    altered(there, name, there.head()[name].replace(b"e", b"a", 1))
    with pytest.raises(BundleError, match=r"not the (file|one) that was|differ|received a damaged"):
        got()


def test_what_was_altered_in_the_cache_is_fetched_again(there, caplog):
    folder = got().folder
    for name in ("tokenizer.json", "nlptl.json"):
        path = (folder / name).resolve()
        path.write_bytes(path.read_bytes()[:-5])
        again = got().folder
        assert manifests.read(again).files
    assert "tokenizer.json in the cache is not what was pushed; fetching it again" in caplog.text


@pytest.mark.parametrize("name", ["nlptl.json", "tokenizer.json", "adapter_model.safetensors"])
def test_a_download_that_is_reset_is_gone_on_with(there, hub, name, caplog):
    hub.faults.append(fault := Fault(f"GET /{ID}/resolve/.*{name}", cut_answer=700, times=1))
    with caplog.at_level(logging.INFO, "nlptl"):
        folder = got().folder
    assert fault.times == 0
    assert manifests.read(folder).files
    assert not [p for p in folder.parent.parent.rglob("*.incomplete")]


def test_a_download_that_is_always_reset_leaves_nothing_that_looks_whole(there, hub, monkeypatch):
    import huggingface_hub.utils._http as http

    monkeypatch.setattr(http.time, "sleep", lambda seconds: None)
    hub.faults.append(Fault("GET .*adapter_model", cut_answer=700, times=999))
    with pytest.raises(HubError, match=r"failed 4 times while fetching adapter_model.safetensors"):
        got()
    hub.faults.clear()
    monkeypatch.setattr(fetching, "hub_in_reach", lambda: False)
    with pytest.raises(HubError, match=r"received a bundle of which the cache lacks adapter_model.safetensors, and"):
        got(revision=there.refs["refs/heads/main"])


def test_sizes_are_known_before_anything_is_read(there, hub, monkeypatch):
    monkeypatch.setattr(fetching, "MAX_TEXT_BYTES", 100)
    with pytest.raises(BundleError, match=r"received README.md of \d+ bytes; expected at most 100; do not use"):
        got()
    monkeypatch.setattr(fetching, "MAX_BYTES", 100)
    with pytest.raises(BundleError, match=r"received nlptl.json of \d+ bytes; expected at most 100"):
        got()
    assert not [r for r in hub.requests if "resolve" in r and "nlptl.json" not in r]


def test_no_room_is_told_before_anything_is_read(there, monkeypatch):
    usage = type("Usage", (), {"free": 20_000})  # room for the manifest, and not for the weights
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda place: usage)
    with pytest.raises(HubError, match=r"received \d+ bytes to fetch, and 20000 free in .*; expected room for them"):
        got()


def test_a_path_in_a_manifest_stays_inside(there):
    files = there.find("main").files
    body = json.loads(files["nlptl.json"])["manifest"]
    body["files"] |= {"../../escape": "0" * 64}
    text = json.dumps(body, sort_keys=True)
    page = {"sha256": manifests._digest(text), "manifest": body}
    altered(there, "nlptl.json", json.dumps(page).encode())
    with pytest.raises(BundleError, match=r"received the file name '../../escape'; expected one inside the bundle"):
        got()


def test_without_a_network_the_cache_serves(there, hub, monkeypatch, caplog):
    online = Learner.load(ID)
    monkeypatch.setattr(fetching, "hub_in_reach", lambda: False)
    monkeypatch.setattr("nlptl.backbones.sources.hub_in_reach", lambda: False)
    before = len(hub.requests)
    with caplog.at_level(logging.INFO, "nlptl"):
        offline = Learner.load(ID)
        by_commit = Learner.load(ID, revision=online.commit_)
    assert offline.commit_ == by_commit.commit_ == online.commit_
    assert "from the cache: the Hub was not asked" in caplog.text
    assert np.array_equal(offline.predict_proba(TEXTS), online.predict_proba(TEXTS))
    assert len(hub.requests) == before
    with pytest.raises(HubError, match="neither a folder here nor in the cache, and the Hub cannot be reached"):
        Learner.load("tester/other")


def test_a_hub_that_is_down_is_no_reason_to_fail_with_a_warm_cache(there, hub, caplog):
    commit = got().commit
    hub.faults.append(Fault("", status=503, times=999))
    assert got().commit == commit
    assert "going on with what was fetched before" in caplog.text
    with pytest.raises(HubError, match="failed 4 times while looking it up"):
        got("tester/other")


def test_what_cannot_be_is_one_line(there, hub, monkeypatch, tmp_path):
    hub.create("tester/empty")
    hub.create("tester/pickled", {"pytorch_model.bin": b"\x80", "config.json": b"{}"})
    hub.create("tester/secret", {"nlptl.json": b"{}"}, private=True)
    hub.create("tester/gated", dict(there.find("main").files), gated=True)
    refused = [
        ("tester/nowhere", None, HubError, "a repository that is not there, or that you may not see, and no folder"),
        (
            ID,
            "v9",
            HubError,
            "at revision 'v9': received a revision that is not there; expected a branch, tag or commit",
        ),
        ("tester/empty", None, BundleError, "received a repository with neither nlptl.json nor"),
        ("tester/pickled", None, BundleError, "pickles are never read"),
        ("tester/gated", None, HubError, "received a gated repository; expected access to it; accept its terms"),
        (str(tmp_path / "none"), None, OptionError, "received no folder of this machine"),
        (tmp_path, "v1", OptionError, "received a revision with a local folder"),
    ]
    for source, revision, kind, said in refused:
        with pytest.raises(kind, match=said) as error:
            got(source, revision)
        assert "\n" not in str(error.value) and "hf_" not in str(error.value)
    monkeypatch.setenv("HF_TOKEN", STRANGER)
    with pytest.raises(HubError, match="that you may not see"):
        got("tester/secret")


def test_a_gated_base_is_one_line(there, hub):
    hub.repos["tester/base"].gated = True
    with pytest.raises(BackboneError, match=r"received 'tester/base' at .*, which is gated; expected access") as error:
        Learner.load(ID)
    assert "\n" not in str(error.value)


def test_a_folder_wins_over_the_hub(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fitted(FULL).save(tmp_path / "tester" / "mood")
    assert Learner.load(ID).commit_ is None
    assert not hub.requests
