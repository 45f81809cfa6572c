"""Modes by name or as objects, their registries, and what each refuses to be given."""

from __future__ import annotations

import dataclasses

import pytest

from nlptl import FullTuning, LoRA, OptionError, modes, tasks
from nlptl.modes.base import window_of


def test_a_name_is_the_object_with_its_defaults():
    assert modes.resolve("lora") == LoRA()
    given = LoRA(rank=2)
    assert modes.resolve(given) is given
    for name, cls in modes.classes().items():
        assert type(modes.resolve(name)) is cls and cls.name == name


@pytest.mark.parametrize("wrong", ["lorra", 3, None])
def test_a_name_that_is_none_is_told(wrong):
    with pytest.raises(OptionError, match=rf"mode=…: received {wrong!r}; expected one of 'frozen', 'full', 'lora'"):
        modes.resolve(wrong)
    with pytest.raises(OptionError, match=rf"task=…: received {wrong!r}; expected one of "):
        tasks.resolve(wrong)


def test_a_class_is_no_object_yet():
    with pytest.raises(OptionError, match=r"received the class LoRA; expected an object of it, .* write LoRA\(\)"):
        modes.resolve(LoRA)


@pytest.mark.parametrize("cls", [*modes.classes().values(), *(type(tasks.resolve(n)) for n in tasks.names())])
def test_options_are_frozen_documented_and_rebuilt_from_themselves(cls):
    made = cls()
    assert dataclasses.replace(made) == made
    for f in dataclasses.fields(cls):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, f.name, None)
        told = " ".join(base.__doc__ or "" for base in cls.__mro__ if base is not object)
        assert f.name in told, f"{cls.__name__}.{f.name} has no help beside it"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rank": 0}, r"LoRA\(rank=…\): received 0; expected a whole number of 1 or more"),
        ({"lora_dropout": 1.0}, r"lora_dropout=…\): received 1.0; expected a number from 0 to below 1"),
        ({"alpha": -1.0}, r"alpha=…\): received -1.0; expected a number above 0"),
        ({"variant": "rlora"}, r"received 'rlora'; expected one of .*Did you mean '"),
        (
            {"targets": "query"},
            r"received 'query'; expected 'all-linear' or a tuple of names; write targets=\('query',\)",
        ),
    ],
)
def test_loras_own_options(options, said):
    with pytest.raises(OptionError, match=said):
        LoRA(**options)


def test_rates_go_by_the_width():
    assert FullTuning().default_rate(384) == 1.5e-4
    assert FullTuning().default_rate(768) == 0.75e-4
    assert FullTuning().default_rate(32) == 1.5e-4
    assert LoRA().default_rate(384) == 1e-3 and LoRA().default_rate(1536) == 5e-4


def test_windows():
    assert (window_of(None, None, 512).length, window_of(None, None, 512).stride) == (512, 128)
    assert window_of(64, 0, 512).stride == 0
    with pytest.raises(
        OptionError, match=r"max_length=600: received more tokens .* expected at most 512; leave it out"
    ):
        window_of(600, None, 512)
    with pytest.raises(OptionError, match=r"stride=62: received as many .* expected fewer than 62; leave it out"):
        window_of(64, 62, 512)
