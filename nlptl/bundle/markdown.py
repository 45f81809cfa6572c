"""Text of others inside a page of ours: shown as it is, never obeyed."""

from __future__ import annotations

from typing import Any

#: Longer than this, a name fills the page and tells no more.
LONGEST = 80

#: Joins the parts of one emoji; every other invisible character is shown by its number.
_JOINER = "\u200d"


def shown(value: Any, limit: int = LONGEST) -> str:
    """A value as one line of Markdown text, in which no character means anything to Markdown or HTML.

    Punctuation goes as character references, which are text wherever they stand: no table, heading, link, tag or
    template can begin in them. A hyphen or underscore inside a word stays, for it means nothing there.
    """
    text = "".join(c if c.isprintable() or c == _JOINER else _number(c) for c in " ".join(str(value).split()))
    cut = len(text) > limit
    text = text[:limit]
    plain = "".join(_safe(text, i) for i in range(len(text)))
    return plain + ("…" if cut else "") or "(empty)"


def literal(value: Any) -> str:
    """A value as Python source that may stand in a fenced block: no fence, no tag and no brace inside its strings."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(literal, value)) + "]"
    source = repr(value)
    if isinstance(value, str):
        for character in "<>`{}&":
            source = source.replace(character, f"\\x{ord(character):02x}")
        if '"' not in source:
            source = f'"{source[1:-1]}"'
    return source


def _safe(text: str, i: int) -> str:
    c = text[i]
    if c.isalnum() or c == " " or not c.isascii():
        return c
    before, after = text[i - 1 : i], text[i + 1 : i + 2]
    harmless = c == "," or (c in "-_" and before.isalnum() and after.isalnum())
    harmless = harmless or (c == "." and before.isdecimal() and after.isdecimal())
    return c if harmless else f"&#{ord(c)};"


def _number(character: str) -> str:
    return f"\\u{ord(character):04x}"
