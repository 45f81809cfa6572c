"""Words: what is one, and that offsets always slice the text to the word."""

from __future__ import annotations

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from nlptl.data.words import _WORD, is_visible, split_words

# Characters that have broken splitters before, beside whatever hypothesis thinks of.
_HARD = (
    "aé\u0301Zß1_-'. \t\n\u00a0\u00ad\u200b\u200c\u200d\ufeff\ufe0f\u20e3#👍🏽👩🇩🇪私カーสวั한क्षी\u0600\u3164\ud83d\x00"
)
_TEXTS = st.one_of(st.text(), st.text(alphabet=_HARD))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ada left.", ["Ada", "left", "."]),
        ("don't U.S. e-mail", ["don", "'", "t", "U", ".", "S", ".", "e", "-", "mail"]),
        ("snake_case ID42", ["snake_case", "ID42"]),
        ("  leading\u00a0space", ["leading", "space"]),
        ("cafe\u0301 naïve", ["cafe\u0301", "naïve"]),
        ("👍🏽👩‍👩‍👧 🇩🇪🇫🇷 1️⃣ #️⃣", ["👍🏽", "👩‍👩‍👧", "🇩🇪", "🇫🇷", "1️⃣", "#️⃣"]),
        ("🏴󠁧󠁢󠁥󠁮󠁧󠁿!", ["🏴󠁧󠁢󠁥󠁮󠁧󠁿", "!"]),
        ("東京でカレー", ["東", "京", "で", "カ", "レ", "ー"]),
        ("สวัสดี", ["ส", "วั", "ส", "ดี"]),
        ("می‌خواهم", ["می‌خواهم"]),  # a ZWNJ stands inside the word
        ("Lon\u00addon", ["Lon\u00addon"]),
        ("zero\u200bwidth \ufeffmark", ["zero", "width", "mark"]),
        ("क्षत्रिय 한국어", ["क्षत्रिय", "한국어"]),
        ("", []),
        (" \n\u200b\ufe0f\u3164", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert [w.text for w in split_words(text)] == words


@given(_TEXTS)
@settings(max_examples=300, deadline=None)
def test_offsets_slice_the_text_to_its_words_in_order(text: str) -> None:
    words = split_words(text)
    end = 0
    for word in words:
        assert text[word.start : word.end] == word.text != ""
        assert word.start >= end
        end = word.end
    assert is_visible(text) == bool(words)


@given(st.text(alphabet=st.characters(max_codepoint=127)))
@settings(max_examples=300, deadline=None)
def test_ascii_is_split_as_any_other_text(text: str) -> None:
    assert [tuple(word) for word in split_words(text)] == [(m.group(), *m.span()) for m in _WORD.finditer(text)]


@given(_TEXTS)
@settings(max_examples=300, deadline=None)
def test_no_letter_or_digit_is_left_out(text: str) -> None:
    held = {i for w in split_words(text) for i in range(w.start, w.end)}
    fillers = "\u115f\u1160\u3164\uffa0"  # letters to Unicode, but drawn as nothing
    assert all(i in held for i, c in enumerate(text) if c.isalnum() and c not in fillers)


@given(_TEXTS)
@settings(max_examples=200, deadline=None)
def test_a_word_holds_no_white_space(text: str) -> None:
    assert not any(c.isspace() for w in split_words(text) for c in w.text)


@given(_TEXTS)
@settings(max_examples=300, deadline=None)
def test_every_visible_grapheme_is_in_a_word(text: str) -> None:
    held = {i for w in split_words(text) for i in range(w.start, w.end)}
    hidden = regex.compile(r"[\s\p{C}\p{Default_Ignorable_Code_Point}]")  # surrogates and unassigned are of \p{C}
    left_out = [g.group() for g in regex.finditer(r"\X", text) if not hidden.match(g.group()) and g.start() not in held]
    assert left_out == []


@pytest.mark.parametrize("emoji", ["👩‍👩‍👧‍👦", "👍🏽", "🇩🇪", "❤️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"])
def test_an_emoji_is_one_word_wherever_it_stands(emoji: str) -> None:
    for text in (emoji, f"good{emoji}", f"{emoji}good", f"東{emoji}京", f"U.S.{emoji} "):
        assert [w.text for w in split_words(text)].count(emoji) == 1
