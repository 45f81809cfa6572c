"""Arrays on disk by key: what is damaged is never given, the oldest go, and processes meet without a lock."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from nlptl.engine import shards
from nlptl.engine.shards import Entry, Shards, digest

MODEL = "0" * 32
ROOM = 1 << 30


def entries(start: int, stop: int, width: int = 8) -> list[Entry]:
    """One array a number, of one to three rows, told by the number alone."""
    return [
        Entry(digest(str(n).encode()), np.random.default_rng(n).normal(size=(1 + n % 3, width)).astype(np.float32))
        for n in range(start, stop)
    ]


def right(found: dict[int, np.ndarray], asked: list[Entry]) -> bool:
    return all(np.array_equal(values, asked[place].values) for place, values in found.items())


def files(root: Path) -> list[Path]:
    return sorted(root.rglob("*.safetensors"))


def test_what_was_kept_is_found_in_any_order_and_nothing_else_is(tmp_path):
    kept = entries(0, 40)
    Shards(tmp_path, MODEL).add(kept[:25], ROOM)
    Shards(tmp_path, MODEL).add(kept[25:], ROOM)
    asked = [*reversed(kept), *entries(100, 105)]
    found = Shards(tmp_path, MODEL).find([e.key for e in asked])
    assert sorted(found) == list(range(40)) and right(found, asked)
    assert Shards(tmp_path, "1" * 32).find([e.key for e in kept]) == {}


def test_a_reader_sees_what_another_writes_later_and_bears_what_another_removes(tmp_path):
    reader, kept = Shards(tmp_path, MODEL), entries(0, 10)
    keys = [e.key for e in kept]
    assert reader.find(keys) == {}
    Shards(tmp_path, MODEL).add(kept, ROOM)
    assert len(reader.find(keys)) == 10
    files(tmp_path)[0].unlink()
    assert reader.find(keys) == {}


def test_a_shard_that_vanishes_between_its_index_and_its_values_is_no_error(tmp_path):
    reader, kept = Shards(tmp_path, MODEL), entries(0, 10)
    reader.add(kept, ROOM)
    (shard,) = reader._shards()
    files(tmp_path)[0].unlink()
    assert shard.read({0: (0, kept[0].key)}) == {} and shard.gone


def test_no_damage_gives_a_wrong_array(tmp_path):
    """Any byte flipped, any length cut: what is still found is right, and a file that is found out is gone."""
    kept = entries(0, 6)
    keys = [e.key for e in kept]
    Shards(tmp_path, MODEL).add(kept, ROOM)
    (file,) = files(tmp_path)
    whole = file.read_bytes()
    draw = random.Random(0)
    lost = 0
    cuts = [whole[: draw.randrange(len(whole))] for _ in range(60)]
    flips = []
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        flips.append(bytes(damaged))
    for damaged in [*cuts, *flips, b"", whole + b"\0", b"\xff" * 64]:
        file.write_bytes(damaged)
        found = Shards(tmp_path, MODEL).find(keys)
        assert right(found, kept)
        lost += len(found) < len(kept)
        if not found:
            assert not file.exists()
    assert lost > 300


def test_values_of_another_key_are_not_believed(tmp_path):
    """A file whose keys were exchanged, each with a right digest of its values alone, would give the wrong array."""
    one, other = entries(0, 2)
    Shards(tmp_path, MODEL).add([one, other], ROOM)
    (file,) = files(tmp_path)
    whole = file.read_bytes()
    mixed = whole.replace(one.key, b"x" * 16).replace(other.key, one.key).replace(b"x" * 16, other.key)
    file.write_bytes(mixed)
    assert Shards(tmp_path, MODEL).find([one.key, other.key]) == {}


def test_the_oldest_of_all_models_go_first(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD", 1500)
    bound = 6000
    kept = entries(0, 200)
    for start in range(0, 200, 20):
        Shards(tmp_path, f"{start % 40:032x}").add(kept[start : start + 20], bound)
        assert sum(f.stat().st_size for f in files(tmp_path)) <= bound
    last = Shards(tmp_path, f"{180 % 40:032x}").find([e.key for e in kept])
    assert set(range(185, 200)) <= set(last) and right(last, kept)
    assert not Shards(tmp_path, f"{0:032x}").find([e.key for e in kept[:20]])


def test_other_peoples_files_are_left_alone(tmp_path):
    (tmp_path / "thesis").mkdir()
    mine = [tmp_path / "thesis" / "0.safetensors", tmp_path / "notes.txt"]
    for path in mine:
        path.write_bytes(b"x" * 10_000)
    Shards(tmp_path, MODEL).add(entries(0, 30), 6000)
    Shards(tmp_path, MODEL).add(entries(30, 60), 6000)
    assert all(path.is_file() for path in mine)


def test_what_a_killed_process_left_half_written_goes(tmp_path):
    Shards(tmp_path, MODEL).add(entries(0, 2), ROOM)
    old, new = (tmp_path / MODEL / f".{n}.safetensors.tmp" for n in "ab")
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    Shards(tmp_path, MODEL).add(entries(2, 4), ROOM)
    assert not old.exists() and new.exists()


def test_many_small_shards_become_one(tmp_path):
    kept = entries(0, shards.MANY + 1)
    for entry in kept:
        Shards(tmp_path, MODEL).add([entry], ROOM)
    assert len(files(tmp_path)) == 1
    found = Shards(tmp_path, MODEL).find([e.key for e in kept])
    assert len(found) == len(kept) and right(found, kept)


def test_processes_and_threads_write_evict_and_read_at_once(tmp_path):
    """No lock, no error, and never a wrong array, while all of them remove one another's files."""
    bound, faults = 20_000, []

    def work(seed: int) -> None:
        draw = random.Random(seed)
        try:
            for _ in range(25):
                some = entries(start := draw.randrange(300), start + 12)
                Shards(tmp_path, MODEL).add(some, bound)
                found = Shards(tmp_path, MODEL).find([e.key for e in some])
                assert right(found, some)
        except Exception as error:
            faults.append(error)

    code = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[2]);"
        "from tests.unit.engine.test_shards import *;"
        "[Shards(pathlib.Path(sys.argv[1]), MODEL).add(entries(n, n + 12), 20_000) for n in range(0, 240, 12)]"
    )
    place = str(Path(__file__).parents[3])
    others = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), place]) for _ in range(2)]
    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait(timeout=120) for other in others] == [0, 0]
    assert faults == []
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_an_oserror(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError):
        Shards(tmp_path, MODEL).add(entries(0, 2), ROOM)
