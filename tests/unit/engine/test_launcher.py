"""What launchers say in the environment: honoured, or refused by name; never dropped."""

from __future__ import annotations

import os
import sys
import warnings

import pytest

from nlptl import Compute, NlptlWarning, OptionError
from nlptl.engine import launcher
from nlptl.engine.launcher import Launch, Sharding, is_main, launched, warn_if_left_alone, warn_of_threads
from nlptl.engine.runtime import Runtime
from tests.kit.processes import run

#: What `accelerate launch` (1.15) sets: for several CPUs, which it does not start, and for FSDP2.
LONELY = {"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
FSDP = {
    "ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2",
    "FSDP_SHARDING_STRATEGY": "FULL_SHARD", "FSDP_RESHARD_AFTER_FORWARD": "true", "FSDP_OFFLOAD_PARAMS": "false",
    "FSDP_MIN_NUM_PARAMS": "100000000", "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
    "FSDP_ACTIVATION_CHECKPOINTING": "false", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _untold():
    """What is told once a process has not been told yet."""
    launcher.warn_once.cache_clear()


def test_without_a_launcher_nothing_is_asked():
    assert launched({}) == Launch(world=1, local=1, precision=None, sharding=None)
    assert is_main({})


def test_torchrun_and_mpi_say_how_many_there_are():
    assert launched({"WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8", "RANK": "3"}).world == 16
    assert launched({"WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8"}).local == 8
    assert launched({"OMPI_COMM_WORLD_SIZE": "4"}).world == 4
    assert not is_main({"RANK": "3"}) and not is_main({"OMPI_COMM_WORLD_RANK": "1"}) and is_main({"PMI_RANK": "0"})


def test_fsdp2_is_taken_as_accelerate_says_it():
    assert launched(FSDP).sharding == Sharding(layers=(), reshard=True, checkpointing=False)
    own = {"FSDP_TRANSFORMER_CLS_TO_WRAP": "BertLayer, Block", "FSDP_RESHARD_AFTER_FORWARD": "false"}
    asked = launched({**FSDP, **own, "FSDP_ACTIVATION_CHECKPOINTING": "true"}).sharding
    assert asked == Sharding(layers=("BertLayer", "Block"), reshard=False, checkpointing=True)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, r"a launch with DeepSpeed .* expected DDP, or FSDP2 .*--fsdp_version 2"),
        ({"ACCELERATE_USE_MEGATRON_LM": "true"}, "a launch with Megatron-LM"),
        ({"ACCELERATE_USE_PARALLELISM_CONFIG": "true"}, "a parallelism_config"),
        ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1"}, "received FSDP version 1; expected version 2"),
        ({"ACCELERATE_USE_FSDP": "true"}, "received FSDP version 1; expected version 2"),
        ({**FSDP, "FSDP_OFFLOAD_PARAMS": "true"}, r"fsdp_offload_params \(weights kept on the CPU\)"),
        ({**FSDP, "FSDP_AUTO_WRAP_POLICY": "SIZE_BASED_WRAP"}, "expected TRANSFORMER_BASED_WRAP"),
        ({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}, "gradient_accumulation_steps=4; .* multiply batch_size"),
        ({"ACCELERATE_MIXED_PRECISION": "fp8"}, "mixed_precision='fp8'; expected one of 'no', 'bf16', 'fp16'"),
    ],
)
def test_what_cannot_be_granted_is_refused_by_name(said, told):
    with pytest.raises(OptionError, match=told):
        launched(said)


def test_all_refusals_come_at_once():
    with pytest.raises(OptionError, match="2 faults"):
        launched({"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "2"})


def test_a_runtime_refuses_before_accelerate_is_asked(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(OptionError, match="a launch with DeepSpeed"):
        Runtime(Compute())


@pytest.mark.parametrize(
    ("given", "said", "precision", "by"),
    [
        ("auto", "bf16", "bf16", "ACCELERATE_MIXED_PRECISION"),
        ("fp32", "bf16", "fp32", "Compute"),
        ("auto", "no", None, "the hardware"),
    ],
)
def test_the_user_goes_before_the_launcher_and_that_before_the_hardware(monkeypatch, given, said, precision, by):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", said)
    told = Runtime(Compute(device="cpu", precision=given)).describe()
    assert f"precision: {by}" in told["chosen_by"] and "device: Compute" in told["chosen_by"]
    assert precision in (None, told["precision"])


def test_fp16_of_the_launcher_is_refused_on_a_cpu_with_its_name(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(OptionError, match=r"precision, by ACCELERATE_MIXED_PRECISION: received 'fp16' on cpu"):
        Runtime(Compute(device="cpu"))


def test_a_process_that_was_left_alone_is_told_once():
    with pytest.warns(NlptlWarning, match=r"has started one: .*torchrun --nproc-per-node 2"):
        warn_if_left_alone(LONELY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_left_alone(LONELY)  # it was said
        launcher.warn_once.cache_clear()
        warn_if_left_alone({"MASTER_PORT": "29500"})
        warn_if_left_alone({**LONELY, "WORLD_SIZE": "2"})
        warn_if_left_alone({"ACCELERATE_USE_CPU": "True"})  # one process was asked for


def test_processes_that_share_the_cores_badly_are_told(monkeypatch):
    monkeypatch.setattr(launcher, "_cores", lambda: 16)
    with pytest.warns(NlptlWarning, match=r"2 processes of 1 threads each share 16 cores; .* set OMP_NUM_THREADS=8"):
        warn_of_threads(Launch(world=2, local=2), threads=1)
    with pytest.warns(NlptlWarning, match="OMP_NUM_THREADS=8"):
        warn_of_threads(Launch(world=2, local=2), threads=16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_threads(Launch(world=2, local=2), threads=8)
        warn_of_threads(Launch(world=1), threads=1)


def test_one_device_for_several_processes_is_refused():
    from nlptl.engine.hardware import named_device

    with pytest.raises(OptionError, match=r"received 'cpu:0' in 2 processes, which would all use that one device"):
        named_device("cpu:0", world=2)


@pytest.mark.slow
@pytest.mark.parametrize("asked", [("--cpu",), ("--config_file", "several.yaml")])
def test_accelerate_launch_really_leaves_it_alone(tmp_path, monkeypatch, asked):
    """Should it start two one day, this fails, and the warning can go."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "several.yaml").write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_CPU\nnum_processes: 2\nuse_cpu: true\n"
        "mixed_precision: 'no'\n"
    )
    (tmp_path / "job.py").write_text(
        "from nlptl import Compute\nfrom nlptl.engine.runtime import Runtime\n"
        "print('world', Runtime(Compute(precision='fp32')).world)\n"
    )
    launch = [sys.executable, "-m", "accelerate.commands.launch", *asked, "--num_processes", "2", "job.py"]
    ended = run(launch)
    assert ended.code == 0 and ended.said.count("world 1") == 1, ended.said
    assert "accelerate launch was asked for several processes and has started one" in ended.said
    assert "WORLD_SIZE" not in os.environ
