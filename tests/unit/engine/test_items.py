"""From items to tensors and back to one row of numbers a unit."""

from __future__ import annotations

import numpy as np
import torch

from nlptl.engine.forward import mean_windows, pick
from nlptl.engine.items import Item, collate


def ids(*values):
    return np.array(values, dtype=np.int64)


def test_windows_are_padded_on_the_right_and_masked():
    batch = collate([Item((ids(1, 2, 3),)), Item((ids(4), ids(5, 6)))], pad_id=9)
    assert batch.ids.tolist() == [[1, 2, 3], [4, 9, 9], [5, 6, 9]]
    assert batch.mask.tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    assert batch.rows.tolist() == [0, 1, 1]
    assert batch.n_items == 2
    assert batch.types is None and batch.unit_windows is None
    assert set(batch.inputs) == {"input_ids", "attention_mask"}


def test_types_go_with_their_windows():
    pair = Item((ids(1, 2, 3), ids(1, 4)), (ids(0, 1, 1), ids(0, 1)))
    batch = collate([pair, Item((ids(7),), (ids(0),))], pad_id=0)
    assert batch.types.tolist() == [[0, 1, 1], [0, 1, 0], [0, 0, 0]]
    assert batch.inputs["token_type_ids"] is batch.types


def test_units_are_found_in_the_windows_of_the_batch():
    first = Item((ids(1, 2), ids(3, 4)), None, np.array([[0, 1], [1, 0]]), np.array([0, 1]), 2)
    none = Item((ids(5),), None, np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.int64), 1)
    last = Item((ids(6, 7, 8),), None, np.array([[0, 2]]), np.array([0]), 1)
    batch = collate([first, none, last], pad_id=0)
    logits = torch.arange(4 * 3 * 1).reshape(4, 3, 1).float()
    assert pick(logits, batch)[:, 0].tolist() == [1, 3, 11]
    alone = collate([none], pad_id=0)
    assert pick(logits[:1], alone).shape == (0, 1)
    assert (none.n_units, first.n_units, Item((ids(1),)).n_units) == (0, 2, 1)
    assert (first.longest, first.tokens) == (2, 4)


def test_windows_are_averaged_by_item_and_weighed():
    batch = collate([Item((ids(1), ids(2, 3))), Item((ids(4),))], pad_id=0)
    values = torch.tensor([[1.0], [4.0], [7.0]])
    assert mean_windows(values, batch)[:, 0].tolist() == [2.5, 7.0]
    assert mean_windows(values, batch, torch.tensor([1.0, 2.0, 5.0]))[:, 0].tolist() == [3.0, 7.0]


def test_a_single_window_each_is_left_as_it_is():
    batch = collate([Item((ids(1),)), Item((ids(4),))], pad_id=0)
    values = torch.tensor([[0.1], [0.2]])
    assert mean_windows(values, batch) is values
