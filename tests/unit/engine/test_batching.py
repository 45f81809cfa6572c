"""Plans of batches: every row once, the same for the same seed, within the budget."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlptl.engine.batching import inference_plan, micro_batches, training_plan
from nlptl.engine.items import Item

lengths = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=3), min_size=1, max_size=60)


def items(rows):
    return [Item(tuple(np.zeros(n, dtype=np.int64) for n in row)) for row in rows]


@given(lengths, st.integers(1, 9), st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_an_epoch_has_every_row_once_in_batches_of_the_size_asked_for(rows, size, epoch):
    plan = training_plan(items(rows), size, seed=3, epoch=epoch)
    assert sorted(row for batch in plan for row in batch) == list(range(len(rows)))
    assert sum(len(batch) != size for batch in plan) <= 1
    assert plan == training_plan(items(rows), size, seed=3, epoch=epoch)


def test_epochs_and_seeds_differ():
    rows = items([[n % 17 + 1] for n in range(200)])
    plans = [training_plan(rows, 8, seed=s, epoch=e) for s in (0, 1) for e in (0, 1)]
    assert all(one != other for i, one in enumerate(plans) for other in plans[:i])


def test_rows_of_like_length_go_together():
    rows = items([[1 + n % 50] for n in range(400)])
    plan = training_plan(rows, 8, seed=0, epoch=0)
    padding = sum(max(rows[r].longest for r in b) * len(b) - sum(rows[r].longest for r in b) for b in plan)
    assert padding < 0.05 * sum(item.longest for item in rows)


@given(lengths, st.integers(1, 200))
@settings(max_examples=50, deadline=None)
def test_parts_hold_what_fits_into_the_budget(rows, budget):
    parts = list(micro_batches(range(len(rows)), items(rows), budget))
    assert sorted(row for part in parts for row in part) == list(range(len(rows)))
    for part in parts:
        padded = max(max(rows[r]) for r in part) * sum(len(rows[r]) for r in part)
        assert padded <= budget or len(part) == 1


def test_inference_begins_with_the_longest():
    rows = items([[3], [30], [5], [29]])
    assert inference_plan(rows, 60) == [[3, 1], [0, 2]]


def test_no_row_has_no_batch():
    assert inference_plan([], 100) == []
    with pytest.raises(StopIteration):
        next(micro_batches([], [], 100))
