"""Windows: they cover everything, cut no word, and each place has one that answers for it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlptl.data import windows as win
from nlptl.errors import OptionError

_SIZES = st.tuples(st.integers(1, 12), st.integers(0, 11)).filter(lambda p: p[1] < p[0])


def test_a_short_text_is_one_window_and_no_text_one_empty_window() -> None:
    assert win.plan(5, 8, 2) == [(0, 5)]
    assert win.plan(8, 8, 2) == [(0, 8)]
    assert win.plan(0, 8, 2) == [(0, 0)]
    assert win.plan_words([], 8, 2) == [(0, 0)]


def test_the_last_window_is_moved_back_to_be_full() -> None:
    assert win.plan(11, 4, 1) == [(0, 4), (3, 7), (6, 10), (7, 11)]
    assert win.plan_words([1] * 11, 4, 1) == win.plan(11, 4, 1)


@given(st.integers(0, 80), _SIZES)
@settings(max_examples=200, deadline=None)
def test_windows_cover_and_overlap(length: int, sizes: tuple[int, int]) -> None:
    size, stride = sizes
    windows = win.plan(length, size, stride)
    assert windows[0][0] == 0 and windows[-1][1] == length
    assert all(end - start <= size for start, end in windows)
    for (start, end), (next_start, next_end) in pairwise(windows):
        assert next_start > start and next_end > end
        assert end - next_start >= stride
    assert len(windows) <= max(1, -(-(length - stride) // (size - stride)))  # not one more than needed


@given(st.lists(st.integers(0, 9), max_size=40), _SIZES)
@settings(max_examples=300, deadline=None)
def test_word_windows_cover_fit_and_advance(counts: list[int], sizes: tuple[int, int]) -> None:
    size, stride = sizes
    windows = win.plan_words(counts, size, stride)
    assert windows[0][0] == 0 and windows[-1][1] == len(counts)
    assert all(sum(min(c, size) for c in counts[start:end]) <= size for start, end in windows)
    for (start, end), (next_start, next_end) in pairwise(windows):
        assert start < next_start <= end < next_end


def test_words_share_what_the_stride_allows() -> None:
    assert win.plan_words([2, 2, 2, 2, 2], size=4, stride=2) == [(0, 2), (1, 3), (2, 4), (3, 5)]
    assert win.plan_words([2, 2, 2, 2, 2], size=4, stride=1) == [(0, 2), (2, 4), (3, 5)]


def test_an_oversized_word_is_a_window_of_its_own_and_counted() -> None:
    counts = [1, 9, 1]
    assert win.plan_words(counts, size=4, stride=1) == [(0, 1), (1, 2), (2, 3)]
    assert win.oversized(counts, 4) == 1


@given(st.integers(1, 60), _SIZES)
@settings(max_examples=100, deadline=None)
def test_the_owner_has_the_position_and_most_context(length: int, sizes: tuple[int, int]) -> None:
    windows = win.plan(length, *sizes)
    owners = win.owners(windows)
    assert owners.tolist() == [win.owner(windows, i) for i in range(length)]
    for position, index in enumerate(owners):
        context = {i: min(position - start, end - 1 - position) for i, (start, end) in enumerate(windows)}
        assert context[index] == max(context.values()) >= 0  # below 0 is outside
        assert index == min(i for i, seen in context.items() if seen == context[index])


def test_a_tie_goes_to_the_earlier_window_and_edges_lack_no_context() -> None:
    windows = [(0, 6), (3, 9)]
    assert [win.owner(windows, i) for i in range(9)] == [0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert win.owner([(0, 5), (2, 7)], 3) == 0  # 1 token on the poorer side in both


def test_a_position_outside_is_an_error() -> None:
    with pytest.raises(IndexError, match="position 7 lies in none of the 1 windows"):
        win.owner([(0, 7)], 7)


@pytest.mark.parametrize(("size", "stride"), [(0, 0), (4, 4), (4, -1)])
def test_sizes_that_cannot_be(size: int, stride: int) -> None:
    with pytest.raises(OptionError, match=r"received windows of .* expected a size .* `stride`"):
        win.plan(10, size, stride)
    with pytest.raises(OptionError):
        win.plan_words([1], size, stride)
