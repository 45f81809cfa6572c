"""One word splitter for every backbone, so that offsets never depend on a tokenizer's habits."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import regex

# Scripts written without spaces: a run of their letters is no word, so each grapheme is one.
_UNSPACED = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
    r"\u30fc\uff70"  # the prolonged sound mark belongs to kana, though Unicode calls it Common
)
# Nothing to see: spaces, controls, format characters, lone surrogates, fillers, stray selectors.
_INVISIBLE = r"\s\p{Cc}\p{Cf}\p{Cs}\p{Default_Ignorable_Code_Point}"
# Format characters that stand inside a word: soft hyphen, ZWNJ, ZWJ, word joiner.
_JOINERS = r"\u00ad\u200c\u200d\u2060"
_LETTER = rf"[[\p{{L}}\p{{M}}\p{{N}}\p{{Pc}}]--[{_UNSPACED}]]"
_FIRST = rf"[[\p{{L}}\p{{M}}\p{{N}}\p{{Pc}}]--[{_UNSPACED}{_INVISIBLE}]]"

_WORD = regex.compile(
    rf"""(?V1)(?:
      {_FIRST}{_LETTER}*(?:[{_JOINERS}]+{_LETTER}+)*   # letters, marks, digits, underscores
    | (?![{_INVISIBLE}])\X                             # one grapheme: kanji, punctuation, emoji
    )""",
    regex.VERBOSE,
)
# The same of ASCII, where `re` will do, which is several times faster: letters, digits, underscores; else one sign.
_ASCII_WORD: Any = re.compile(r"[A-Za-z0-9_]+|[!-~]")


class Word(NamedTuple):
    """A word and the characters it stands on: ``whole_text[start:end] == text``."""

    text: str
    start: int
    end: int


def split_words(text: str) -> list[Word]:
    """The words of a text, in order, with exact character offsets.

    A run of letters, marks, digits and underscores is a word. In scripts written without
    spaces, and for punctuation and symbols, each grapheme is one: an emoji with its skin tone
    and joiners, a flag, a comma. White space and characters that show nothing separate words.
    """
    pattern = _ASCII_WORD if text.isascii() else _WORD
    return [Word(m[0], *m.span()) for m in pattern.finditer(text)]


def is_visible(text: str) -> bool:
    """Whether there is anything in a text that a reader could see, which is to say a word."""
    pattern = _ASCII_WORD if text.isascii() else _WORD
    return pattern.search(text) is not None
