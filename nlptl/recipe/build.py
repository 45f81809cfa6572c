"""From entries to objects, or to one message that holds every fault."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptl.errors import Fault, Faults, OptionError, did_you_mean, listing
from nlptl.recipe.defaults import demo_backbone
from nlptl.recipe.entries import NAMED, Entry, from_file
from nlptl.recipe.options import WRONG, Option, converted, described, from_text, options_of

if TYPE_CHECKING:
    from nlptl.learner import Learner

Entries = Mapping[str, Entry]


@dataclass(frozen=True)
class Recipe:
    """All that one run is made of; `Recipe.learner()` and what `Learner.fit` takes.

    Parameters
    ----------
    backbone : a folder, a Hub id, or a .gguf file; left out, the MiniLM of nlptl[demo]
    revision : of a Hub id
    trust_remote_code : run code that the checkpoint brings along; off unless said
    task : "classification", "sentiment", "ner"; with options {name: sentiment, scale: stars}
    mode : "frozen", "full", "lora"; with options {name: lora, rank: 16}
    compute : device, precision, batch_tokens, progress, trackers
    train : a file, a saved dataset, or a Hub dataset id; left out, the bundled data of the task
    eval : rows held out: a source as for train, or a fraction of the training rows
    columns : role=column, as text=review label=stars; several columns of 0/1 as label=rude,spam
    labels : every label, in the order wanted
    seed : of everything that is drawn
    out : the folder of the run; left out, runs/<task>-<mode>
    resume : go on from the newest checkpoint in the folder of the run
    notes : what was taken where nothing was said, in words
    """

    backbone: str = ""
    revision: str | None = None
    trust_remote_code: bool = False
    task: Any = "classification"
    mode: Any = "lora"
    compute: Any = None
    train: str = ""
    eval: str | float | None = None
    columns: Mapping[str, str | list[str]] | None = None
    labels: list[str | int | float | bool] | None = None
    seed: int = 0
    out: str = ""
    resume: bool = False
    notes: tuple[str, ...] = ()

    @property
    def moves_weights(self) -> bool:
        """Whether the mode trains by steps, and so makes checkpoints."""
        from nlptl.engine.options import TrainingOptions

        return isinstance(self.mode, TrainingOptions)

    def learner(self) -> Learner:
        """The learner of this recipe, not yet fitted."""
        from nlptl.learner import Learner

        return Learner(
            self.backbone,
            task=self.task,
            mode=self.mode,
            compute=self.compute,
            seed=self.seed,
            revision=self.revision,
            trust_remote_code=self.trust_remote_code,
        )


def read(path: str | Path | None = None, flags: Entries | None = None, faults: Faults | None = None) -> Recipe:
    """A recipe from a YAML file, from flags, or from both, where the flags win.

    Parameters
    ----------
    path : the file
    flags : dotted name -> entry, as ``{"mode.rank": Entry("16", "--mode.rank", is_text=True)}``
    faults : those found before, to be told with the others
    """
    faults = Faults() if faults is None else faults
    said = {} if path is None else from_file(path, GENERAL, faults)
    entries, notes = _merged(said, flags or {})
    given: dict[str, Any] = {}
    for name, option in GENERAL.items():
        if name in entries and name not in _OBJECTS:
            given[name] = _value(entries[name], option, name, faults)
    given |= _objects(entries, faults)
    if columns := _columns(entries, faults):
        given["columns"] = columns
    _check_together(entries, given, faults)
    faults.raise_if_any(OptionError)
    return _completed(given, notes)


def parts(flags: Entries, faults: Faults) -> dict[str, Any]:
    """What a saved learner can still be told: `compute`, and `columns` (empty where none are named)."""
    return {"compute": _compute(flags, faults), "columns": _columns(flags, faults)}


_OBJECTS = ("task", "mode", "compute", "columns")

#: What stands at the top of a recipe; each is a flag of ``nlptl fit`` as well.
GENERAL = {name: option for name, option in options_of(Recipe).items() if name != "notes"}


def _merged(said: Entries, flags: Entries) -> tuple[dict[str, Entry], list[str]]:
    """The flags over the file. Options belong to the task or mode they were written for, and go with it."""
    kept, notes = dict(said), []
    for section in NAMED:
        former, named = said.get(section), flags.get(section)
        name = GENERAL[section].default if former is None else former.value
        dropped = [key for key in said if key.startswith(f"{section}.")]
        if named is not None and named.value != name and dropped:
            notes.append(f"{section} {named.value!r} replaces {name!r} and its options ({', '.join(dropped)})")
            kept = {key: entry for key, entry in kept.items() if key not in dropped}
    return {**kept, **flags}, notes


def _value(entry: Entry, option: Option, name: str, faults: Faults) -> Any:
    found = from_text(entry.value, option.kind) if entry.is_text else converted(entry.value, option.kind)
    if found is WRONG:
        quoted = isinstance(entry.value, int | float) and converted("", option.kind) is not WRONG
        remedy = "put quotes around it" if quoted else "correct it"
        faults.add(f"{name} = {entry.value!r}", described(option.kind), remedy, entry.place)
    return found


def _objects(entries: Entries, faults: Faults) -> dict[str, Any]:
    """Task, mode and compute. What tasks and modes there are, only their modules know: from here on torch is loaded."""
    from nlptl import modes, registry, tasks
    from nlptl.tasks.base import Task

    found: dict[str, Any] = {"compute": _compute(entries, faults)}
    kinds: dict[str, Mapping[str, type[Any]]] = {
        "task": registry.named_classes(tasks, Task),
        "mode": modes.classes(),
    }
    for section, classes in kinds.items():
        entry = entries.get(section, Entry(GENERAL[section].default, ""))
        if entry.value in list(classes):
            found[section] = _made(section, classes[entry.value], entries, faults, classes)
        else:
            hint = did_you_mean(str(entry.value), classes)
            faults.add(f"{section} = {entry.value!r}", f"one of {listing(classes)}", f"choose one.{hint}", entry.place)
    return found


def _compute(entries: Entries, faults: Faults) -> Any:
    from nlptl.engine.compute import Compute

    if "compute" in entries:
        given, place = entries["compute"].value, entries["compute"].place
        faults.add(f"compute = {given!r}", "options of it, as {precision: bf16}", "name the option meant", place)
    return _made("compute", Compute, entries, faults, {})


def _made(section: str, owner: type, entries: Entries, faults: Faults, others: Mapping[str, type]) -> Any:
    """The object of a section; None where its options are not those of its class, or not such as it takes."""
    known, before = options_of(owner), len(faults)
    values: dict[str, Any] = {}
    said = {key.partition(".")[2]: entry for key, entry in entries.items() if key.startswith(f"{section}.")}
    name = f"{section} {getattr(owner, 'name', '')!r}" if others else section
    for option, entry in said.items():
        if option in known:
            values[option] = _value(entry, known[option], f"{section}.{option}", faults)
            continue
        having = [other for other, kind in others.items() if option in options_of(kind)]
        where_it_is = f" {section} {' or '.join(map(repr, having))} has it." if having else ""
        faults.add(
            f"{section}.{option}, which {name} does not have", f"one of {listing(known, 40)}" if known else "no option",
            f"correct it or leave it out.{where_it_is or did_you_mean(option, known)}", entry.place,
        )  # fmt: skip
    values = {option: value for option, value in values.items() if value is not WRONG}
    try:
        made = owner(**values)
    except OptionError as error:
        # A class may stop at its first fault: each option by itself shows those behind it.
        alone = (_refused(owner, option, value) for option, value in values.items())
        found = dict.fromkeys((*error.faults, *(fault for refused in alone for fault in refused)))
        faults.extend(_placed(fault, said) for fault in found)
    return None if len(faults) > before else made


def _refused(owner: type, option: str, value: Any) -> tuple[Fault | str, ...]:
    try:
        owner(**{option: value})
    except OptionError as error:
        return error.faults
    return ()


def _placed(fault: Fault | str, said: Entries) -> Fault:
    """A fault of an option's value, with the line or flag that gave it."""
    where, received, expected, remedy = "", str(fault), "another value", "correct it"
    if isinstance(fault, Fault):
        where, received, expected, remedy = fault.where, fault.received, fault.expected, fault.remedy
    else:
        parts = re.fullmatch(r"(.*?): received (.*); expected (.*); (.*)", fault, re.S)
        if parts:
            where, received, expected, remedy = parts.groups()
    option = re.search(r"(\w+)=", where)
    entry = said.get(option[1]) if option else None
    return Fault(received, expected, remedy, f"{entry.place}, {where}" if entry else where)


def _columns(entries: Entries, faults: Faults) -> dict[str, Any]:
    from typing import get_args

    from nlptl.data.columns import Role

    roles, found = get_args(Role), {}
    if "columns" in entries:
        entry = entries["columns"]
        faults.add(f"columns = {entry.value!r}", "a mapping as {text: review}", "name the role of each", entry.place)
    for key, entry in entries.items():
        section, _, role = key.partition(".")
        if section != "columns" or not role:
            continue
        if role not in roles:
            hint = did_you_mean(role, roles)
            faults.add(f"the unknown role {role!r}", f"one of {', '.join(roles)}", f"correct it.{hint}", entry.place)
        elif entry.is_text:
            names = [name.strip() for name in entry.value.split(",")]
            found[role] = names if len(names) > 1 else names[0]
        else:
            kind = str | list[str]
            found[role] = _value(entry, Option(role, kind, None, ""), key, faults)
    return found


def _check_together(entries: Entries, given: Mapping[str, Any], faults: Faults) -> None:
    """Things that are right alone and wrong together."""
    if given.get("eval") is not None and not given.get("train"):
        place = entries["eval"].place
        faults.add("eval without train", "both, or neither for the bundled data", "give train as well", place)
    if given.get("revision") is not None and not given.get("backbone"):
        place = entries["revision"].place
        faults.add("revision without backbone", "the Hub id that it is of", "give backbone as well", place)
    mode = given.get("mode")
    if given.get("resume") is True and mode is not None and not Recipe(mode=mode).moves_weights:
        faults.add(
            f"resume with mode {mode.name!r}, which makes no checkpoints", "a mode that trains by steps",
            "leave it out: such a run starts afresh", entries["resume"].place,
        )  # fmt: skip


def _completed(given: Mapping[str, Any], notes: list[str]) -> Recipe:
    """What was left out, filled in and told."""
    from nlptl.data import demo

    filled, told = dict(given), list(notes)
    task, mode = given["task"].name, given["mode"].name
    if not filled.get("backbone"):
        filled["backbone"] = demo_backbone()
        told.append("no backbone given: all-MiniLM-L6-v2 of the package that nlptl[demo] installs")
    if not filled.get("train"):
        filled["train"], filled["eval"] = str(demo.path(task, "train")), str(demo.path(task, "test"))
        told.append(f"no train given: the bundled {task} data, and its test rows for eval")
    if not filled.get("out"):
        filled["out"] = str(Path("runs") / f"{task}-{mode}")
    return Recipe(**filled, notes=tuple(told))
