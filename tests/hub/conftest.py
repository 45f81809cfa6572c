"""The loopback Hub inside this process: the client's constants are set, for it has read the environment long ago."""

from __future__ import annotations

import pytest

from nlptl.bundle import hub as wires
from tests.kit.hub import TOKEN, loopback


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub that this test alone talks to, with a cache that is empty and a token that may write."""
    from huggingface_hub import constants, hf_api
    from huggingface_hub.utils import close_session
    from transformers.utils import hub as theirs

    monkeypatch.setattr(wires, "WAITS", (0.0, 0.0, 0.0))
    with loopback() as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.endpoint)
        template = f"{served.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        # Clients that the libraries share between calls, and that know the Hub of their first one.
        monkeypatch.setattr(hf_api.api, "endpoint", served.endpoint)
        monkeypatch.setattr(theirs, "_hf_api", None)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        close_session()
        yield served
        close_session()


@pytest.fixture
def fresh_cache(monkeypatch, tmp_path):
    """Makes the cache empty again, as on another machine."""
    from huggingface_hub import constants

    made = iter(range(100))

    def empty() -> None:
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / f"cache-{next(made)}"))
        monkeypatch.setenv("NLPTL_CACHE", str(tmp_path / f"nlptl-{next(made)}"))

    return empty
