"""Where the work is done: what is asked for, what is chosen, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nlptl.engine.compute import Compute
from nlptl.engine.items import Item
from nlptl.engine.predict import score
from nlptl.engine.progress import Progress
from nlptl.engine.runtime import Runtime
from nlptl.errors import OptionError

PLAIN = Compute(device="cpu", precision="fp32")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precision": "fp8"}, r"received 'fp8'; expected one of 'auto', 'fp32', 'bf16', 'fp16'; leave"),
        ({"device": "gpu"}, r"received 'gpu'; expected one of 'auto', 'cpu', 'cuda', 'mps'"),
        ({"batch_tokens": 0}, r"received 0; expected a whole number of 1 or more, or 'auto'"),
        ({"progress": "yes"}, r"received 'yes'; expected True, False or 'auto'"),
        ({"trackers": "wandb"}, r"received the string 'wandb'; expected a tuple of names; write trackers=\('wandb',\)"),
    ],
)
def test_a_wrong_choice_is_refused_in_three_parts(options, said):
    with pytest.raises(OptionError, match=said):
        Compute(**options)


def test_what_is_asked_for_is_what_is_taken():
    runtime = Runtime(Compute(device="cpu", precision="bf16", batch_tokens=77))
    said = runtime.describe()
    assert (said["device"], said["precision"], said["batch_tokens"], said["processes"]) == ("cpu", "bf16", "77", "1")
    with runtime.arithmetic():
        assert torch.ones(2, 2).matmul(torch.ones(2, 2)).dtype == torch.bfloat16
    with Runtime(PLAIN).arithmetic():
        assert torch.ones(2, 2).matmul(torch.ones(2, 2)).dtype == torch.float32


def test_a_device_that_is_not_there_is_told():
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(OptionError, match=r"received 'cuda', which this machine or this build of torch does not have"):
        Runtime(Compute(device="cuda"))
    with pytest.raises(OptionError, match=r"received 'fp16' on cpu; expected a CUDA device"):
        Runtime(Compute(device="cpu", precision="fp16"))


def test_trackers_want_a_folder():
    with pytest.raises(OptionError, match=r"received no folder for their logs; expected fit\(…, run_dir=…\)"):
        Runtime(Compute(device="cpu", trackers=("tensorboard",)))


def test_one_process_has_all_rows():
    runtime = Runtime(PLAIN)
    assert runtime.mine([1, 2, 3]) == [1, 2, 3]
    assert runtime.merge([(2, "c"), (0, "a"), (1, "b")]) == ["a", "b", "c"]
    assert runtime.total(1.5) == 1.5 and runtime.is_main and runtime.rank == 0


def test_scores_come_in_the_order_of_the_rows_and_the_model_goes_back_to_training():
    class Echo(torch.nn.Module):
        def forward(self, input_ids, attention_mask):
            assert not self.training
            found = type("Output", (), {})()
            found.logits = input_ids.sum(1, keepdim=True).float()
            return found

    model = Echo().train()
    items = [Item((np.array([n] * (1 + n % 5)),)) for n in range(20)]
    found = score(model, items, Runtime(Compute(device="cpu", precision="fp32", batch_tokens=12)), pad_id=0)
    assert [float(f[0, 0]) for f in found] == [n * (1 + n % 5) for n in range(20)]
    assert model.training


def test_a_bar_is_drawn_only_when_it_is_wanted(capsys):
    for wanted in (False, "auto", True):
        with Progress(Runtime(Compute(device="cpu", progress=wanted)), 10, "train") as bar:
            bar.step(5, loss=0.5)
            bar.step(5)
        assert ("train" in capsys.readouterr().err) == (wanted is True)
