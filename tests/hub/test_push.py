"""A push is one commit or none, whatever befalls it on the way; what cannot be is one plain line."""

from __future__ import annotations

import json
import logging

import pytest

from nlptl import BundleError, HubError, OptionError
from nlptl.bundle import commit as commits
from nlptl.bundle.push import PushOptions, push
from nlptl.errors import redacted
from tests.kit.cells import Cell, fitted
from tests.kit.checkpoints import tiny_checkpoint
from tests.kit.hub import READER, STRANGER, Fault
from tests.kit.shelf import tiny

LORA, FROZEN, FULL = (Cell("sentiment", mode, "bert") for mode in ("lora", "frozen", "full"))
ID = "tester/mood"
PLAIN = PushOptions()
NO_WAIT = {"sleep": lambda seconds: None}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    place = tmp_path_factory.mktemp("bundles")
    return {cell.mode: fitted(cell).save(place / cell.mode) for cell in (LORA, FROZEN, FULL)}


def pushed(folder, options=PLAIN, repo_id=ID):
    return push(folder, repo_id, options, **NO_WAIT)


def named(files) -> set[str]:
    """The files that the manifest of a repository names, and the manifest."""
    return {"nlptl.json", *json.loads(files["nlptl.json"])["manifest"]["files"]}


def commits_of(hub, repo_id=ID) -> int:
    return len(hub.repos[repo_id].commits)


# ------------------------------------------------------------------------------------------------- what a push does


@pytest.mark.parametrize("mode", ["lora", "frozen", "full"])
def test_one_commit_that_holds_what_the_manifest_names(hub, bundles, mode):
    before = {p.name: p.read_bytes() for p in bundles[mode].iterdir()}
    done = pushed(bundles[mode])
    files = hub.repos[ID].head()
    assert set(files) == named(files) == set(done.written)
    assert commits_of(hub) == 2 and done.commit == hub.repos[ID].refs["refs/heads/main"]
    assert {p.name: p.read_bytes() for p in bundles[mode].iterdir()} == before
    places = [str(tiny("bert")).encode(), str(bundles[mode].parent).encode()]
    assert not [name for name, data in files.items() if any(place in data for place in places)]
    assert not [name for name, data in files.items() if b"hf_loopback" in data]
    assert done.size < 200_000
    if mode != "full":
        assert not [n for n in files if n.startswith(("model", "config"))]


@pytest.mark.parametrize("mode", ["lora", "frozen", "full"])
def test_what_is_there_already_is_not_pushed_again(hub, bundles, mode, tmp_path):
    first = pushed(bundles[mode])
    writes = len([r for r in hub.requests if not r.startswith(("GET", "HEAD"))])
    second = pushed(bundles[mode])
    assert second.already and second.commit == first.commit and str(second).startswith("already there: http")
    assert len([r for r in hub.requests if not r.startswith(("GET", "HEAD"))]) == writes
    # The same learner, saved anew, is the same bytes.
    cell = next(c for c in (LORA, FROZEN, FULL) if c.mode == mode)
    assert fitted(cell).push_to_hub(ID).already
    assert commits_of(hub) == 2


def test_another_bundle_takes_the_place_of_the_former_and_leaves_what_is_not_its_own(hub, bundles):
    pushed(bundles["full"])
    repo = hub.repos[ID]
    repo.add({**repo.find("main").files, "LICENSE": b"mine", "notes/x.md": b"mine"}, repo.refs["refs/heads/main"],
             "refs/heads/main")  # fmt: skip
    done = pushed(bundles["frozen"])
    files = hub.repos[ID].head()
    assert set(files) == named(files) | {"LICENSE", "notes/x.md"}
    assert "model.safetensors" in done.deleted and "config.json" in done.deleted


def test_private_branch_tag_and_pull_request(hub, bundles):
    done = pushed(bundles["lora"], PushOptions(private=True, revision="next", tag="v1"))
    repo = hub.repos[ID]
    assert repo.private
    assert repo.refs["refs/tags/v1"] == repo.refs["refs/heads/next"] == done.commit != repo.refs["refs/heads/main"]
    assert repo.head() == {}
    again = pushed(bundles["lora"], PushOptions(revision="next", tag="v1"))
    assert again.already
    asked = pushed(bundles["lora"], PushOptions(create_pr=True))
    assert asked.pull_request == f"{hub.endpoint}/{ID}/discussions/1" and repo.head() == {}
    assert set(repo.head("refs/pr/1")) == set(done.written)


def test_a_stranger_may_offer_a_pull_request_and_nothing_else(hub, bundles, monkeypatch):
    hub.create(ID)
    monkeypatch.setenv("HF_TOKEN", STRANGER)
    assert pushed(bundles["lora"], PushOptions(create_pr=True)).pull_request
    with pytest.raises(HubError, match=r"received a Hub that forbids uploading .*; expected a token that may write"):
        pushed(bundles["lora"])
    assert hub.repos[ID].head() == {}


def test_a_gitignore_there_leaves_nothing_out(hub, bundles):
    hub.create(ID, {".gitignore": b"*.safetensors\n*.json\n"})
    pushed(bundles["lora"])
    files = hub.repos[ID].head()
    assert set(files) == named(files) | {".gitignore"}


# ----------------------------------------------------------------------------------------------------------- faults

PASSING = {
    "whoami away": Fault("whoami", status=503),
    "look-up away": Fault("GET /api/models", status=502, times=2),
    "creation away": Fault("repos/create", status=503),
    "creation's answer lost": Fault("repos/create", lose=True),
    "pre-upload away": Fault("preupload", status=503, times=1),
    "card's check away": Fault("validate-yaml", status=503),
    "commit away": Fault("/commit/", status=503, times=3),
    "commit too often": Fault("/commit/", status=429),
    "commit's answer lost": Fault("/commit/", lose=True),
    "commit cut": Fault("/commit/", cut_body=3000),
    "upload cut": Fault("PUT /lfs", cut_body=100),
    "tree away": Fault("/tree/", status=500),
    "tag away": Fault("/tag/", status=503),
    "tag's answer lost": Fault("/tag/", lose=True),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_tried_again_and_told(hub, bundles, name, caplog, monkeypatch):
    import huggingface_hub.utils._http as http

    monkeypatch.setattr(http.time, "sleep", lambda seconds: None)  # the client's own second tries
    hub.faults.append(fault := Fault(**vars(PASSING[name])))
    with caplog.at_level(logging.INFO, "nlptl"):
        done = pushed(bundles["lora"], PushOptions(tag="v1"))
    assert fault.times == 0, "the fault did not happen"
    files, repo = hub.repos[ID].head(), hub.repos[ID]
    assert set(files) == named(files)
    assert commits_of(hub) == 2 and done.commit == repo.refs["refs/heads/main"] == repo.refs["refs/tags/v1"]
    by_client = {"pre-upload away", "upload cut", "tree away"}
    if name not in by_client:
        assert "trying again" in caplog.text or "done all the same" in caplog.text
    if "lost" in name and "creation" not in name:
        assert "but it was done all the same" in caplog.text
    assert "hf_loopback" not in caplog.text


def test_a_pull_request_whose_answer_is_lost_is_made_once(hub, bundles):
    hub.create(ID)
    hub.faults.append(Fault("/commit/", lose=True))
    done = pushed(bundles["lora"], PushOptions(create_pr=True))
    assert done.pull_request.endswith("/discussions/1")
    assert [ref for ref in hub.repos[ID].refs if ref.startswith("refs/pr/")] == ["refs/pr/1"]


@pytest.mark.parametrize("match", ["repos/create", "/commit/", "whoami"])
def test_what_does_not_pass_is_given_up(hub, bundles, match):
    waited = []
    hub.faults.append(Fault(match, status=503, times=99))
    with pytest.raises(HubError, match=r"failed 4 times while .*; expected an answer; try again later") as told:
        push(bundles["lora"], ID, PLAIN, sleep=waited.append)
    assert len(waited) == 3 and "\n" not in str(told.value)
    assert ID not in hub.repos or hub.repos[ID].head() == {}


def test_somebody_pushes_in_between(hub, bundles, caplog, monkeypatch):
    hub.create(ID)
    repo, send = hub.repos[ID], commits._send
    times = iter(range(2))

    def late(*given):
        if next(times, None) is not None:
            head = repo.find("main")
            repo.add({**head.files, "LICENSE": f"{len(repo.commits)}".encode()}, head.id, "refs/heads/main")
        return send(*given)

    monkeypatch.setattr(commits, "_send", late)
    pushed(bundles["lora"])
    files = repo.head()
    assert set(files) == named(files) | {"LICENSE"}
    assert caplog.text.count("somebody else has pushed in between; going on from there") == 2


def test_somebody_always_pushes_in_between(hub, bundles, monkeypatch):
    hub.create(ID)

    def stale(*given):
        raise commits.OvertakenError

    monkeypatch.setattr(commits, "_send", stale)
    with pytest.raises(HubError, match="received 4 pushes by others in between; expected a quiet moment"):
        pushed(bundles["lora"])


# ----------------------------------------------------------------------------------------- what cannot be, in a line


def told(error) -> str:
    """The message of an error, of which nothing else may be shown."""
    text = str(error.value)
    assert "\n" not in text and "hf_" not in text and "Bearer" not in text
    assert error.value.__cause__ is None or "hf_" not in repr(error.value.__cause__)
    return text


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (None, "received no token; expected one that may write; run: hf auth login"),
        ("hf_unknownunknown", "received a token that the Hub does not know; expected one that may write; run: hf auth"),
        (READER, "received a token that may only read; expected one that may write; run: hf auth login"),
        (STRANGER, "received a Hub that forbids creating the repository .*check the namespace"),
    ],
)
def test_a_token_that_will_not_do(hub, bundles, token, said, monkeypatch):
    monkeypatch.delenv("HF_TOKEN") if token is None else monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(HubError, match=said) as error:
        pushed(bundles["lora"])
    told(error)
    assert ID not in hub.repos


def test_no_network(hub, bundles, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match="received no answer from the Hub; expected a network; go online") as error:
        pushed(bundles["lora"])
    told(error)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match=r"an offline machine \(HF_HUB_OFFLINE is set\)"):
        pushed(bundles["lora"])


@pytest.mark.parametrize(
    "name", ["mood", "a/b/c", "tester/", "tester/my mood", "tester/a--b", "", "../x", "hf_" + "a" * 20, 3]
)
def test_no_name_of_a_repository(hub, bundles, name):
    with pytest.raises(OptionError, match=r"as a repository of the Hub; expected user/name") as error:
        pushed(bundles["lora"], repo_id=name)
    told(error)


def test_options_that_cannot_be_together():
    with pytest.raises(OptionError, match="received a branch for a pull request"):
        PushOptions(create_pr=True, revision="next")
    with pytest.raises(OptionError, match="received a tag for a commit that is not in yet"):
        PushOptions(create_pr=True, tag="v1")


def test_what_would_surprise_is_refused_before_anything_is_uploaded(hub, bundles):
    hub.create("tester/model", {"model.safetensors": b"weights"})
    hub.create("tester/broken", {"nlptl.json": b"{"})
    hub.create("tester/open")
    hub.create("tester/tagged").refs["refs/tags/v1"] = "0" * 40
    refused = {
        "tester/model": (PLAIN, r"received a repository that holds another model \(model.safetensors\)"),
        "tester/broken": (PLAIN, "received a repository whose nlptl.json is damaged; expected a bundle to replace"),
        "tester/open": (
            PushOptions(private=True),
            "private=True for a repository that is public already; expected one",
        ),
        "tester/tagged": (PushOptions(tag="v1"), r"received the tag 'v1', which another commit has \(0000"),
        "tester/none": (PushOptions(create_pr=True), "received a pull request for a repository that is not there"),
    }
    for repo_id, (options, said) in refused.items():
        with pytest.raises(HubError, match=said) as error:
            pushed(bundles["lora"], options, repo_id)
        told(error)
    assert all(len(repo.commits) <= 2 for repo in hub.repos.values())
    assert not [r for r in hub.requests if "/commit/" in r or "preupload" in r]


def test_a_tag_is_no_branch(hub, bundles):
    repo = hub.create(ID)
    repo.refs["refs/tags/v1"] = repo.refs["refs/heads/main"]
    with pytest.raises(HubError, match="received the tag 'v1' to push to; expected a branch"):
        pushed(bundles["lora"], PushOptions(revision="v1"))


def test_an_altered_bundle_is_not_pushed(hub, bundles, tmp_path):
    folder = fitted(LORA).save(tmp_path / "bundle")
    with (folder / "tokenizer.json").open("a") as file:
        file.write(" ")
    with pytest.raises(BundleError, match="a file that is not the one that was written"):
        pushed(folder)
    assert not hub.requests


# ------------------------------------------------------------------------------------------------------ the card


def test_a_card_that_a_person_wrote_is_kept_or_its_loss_is_told(hub, bundles, caplog, tmp_path):
    repo = hub.create(ID, {"README.md": b"# By hand\n"})
    pushed(bundles["lora"])
    assert "replacing a card that was written by hand; it stays in commit" in caplog.text
    head = repo.find("main")
    repo.add({**head.files, "README.md": b"# Edited there\n"}, head.id, "refs/heads/main")
    assert pushed(bundles["lora"]).already and repo.head()["README.md"] == b"# Edited there\n"
    assert "its card was edited on the Hub and is left as it is" in caplog.text
    folder = fitted(LORA).save(tmp_path / "bundle")
    (folder / "README.md").write_text("---\nlibrary_name: nlptl\n---\n# Edited here\n")
    pushed(folder)
    assert repo.head()["README.md"].endswith(b"# Edited here\n")


# ------------------------------------------------------------------------------------------------------ the base


@pytest.mark.parametrize("known", [True, False])
def test_a_base_gets_the_name_that_is_given_and_proved(hub, bundles, known, monkeypatch, tmp_path):
    if not known:
        monkeypatch.setenv("NLPTL_CACHE", str(tmp_path / "none"))
    base = hub.create("tester/base", {p.name: p.read_bytes() for p in tiny("bert").iterdir()})
    done = pushed(bundles["lora"], PushOptions(base_model="tester/base"))
    files = hub.repos[ID].head()
    said = json.loads(files["nlptl.json"])["manifest"]["base"]
    assert (said["id"], said["commit"]) == ("tester/base", base.refs["refs/heads/main"])
    config = json.loads(files["adapter_config.json"])
    assert (config["base_model_name_or_path"], config["revision"]) == ("tester/base", said["commit"])
    assert b"\nbase_model: tester/base\n" in files["README.md"] and "README.md" in done.written
    downloads = [r for r in hub.requests if r.startswith("GET /tester/base/resolve") and "model.safetensors" in r]
    assert bool(downloads) is not known  # the hash that the Hub tells is proof enough where the base is here


def test_a_base_that_is_not_named_is_told_by_its_fingerprint(hub, bundles):
    pushed(bundles["lora"])
    files = hub.repos[ID].head()
    page = files["README.md"].decode()
    said = json.loads(files["nlptl.json"])["manifest"]["base"]
    assert said["id"] is None and said["fingerprint"] in page and "base_model:" not in page
    assert 'Learner.load("tester/mood", backbone="folder-of-the-base")' in page
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] is None


def test_a_base_that_is_not_that_base(hub, bundles, tmp_path):
    other = tiny_checkpoint("bert", tmp_path / "other", seed=5)
    hub.create("tester/other", {p.name: p.read_bytes() for p in other.iterdir()})
    hub.create("tester/gated", {p.name: p.read_bytes() for p in other.iterdir()}, gated=True)
    refused = {
        "tester/other": (BundleError, "received a base whose weights have fingerprint .*; expected the base it was"),
        "tester/nowhere": (HubError, "'tester/nowhere': received a repository that is not there, or that you may not"),
        "tester/gated": (Exception, "gated"),
        str(other): (OptionError, "received no Hub id; expected user/name of the base on the Hub"),
    }
    for base, (kind, said) in refused.items():
        with pytest.raises(kind, match=said):
            pushed(bundles["lora"], PushOptions(base_model=base))
    assert ID not in hub.repos


@pytest.mark.parametrize(
    "said",
    [
        "bad token hf_SecretSecret1",
        "Authorization: Bearer SecretSecret1",
        "authorization: SecretSecret1",
        "https://user:SecretSecret1@host/x failed",
        "PUT https://s3/x?X-Amz-Signature=SecretSecret1&b=1",
        "what HF_TOKEN holds: plainSecretSecret1",
    ],
)
def test_what_others_say_is_passed_on_without_a_secret(said, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "plainSecretSecret1")
    assert "SecretSecret1" in said and "SecretSecret1" not in redacted(said)
    assert redacted("no secret: a half of it, Bearer") == "no secret: a half of it, Bearer"
