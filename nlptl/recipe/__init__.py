"""Recipes: YAML and flags to objects, every fault of theirs in one message. Opening this room loads nothing heavy."""

from nlptl.recipe.build import GENERAL, Recipe, parts, read
from nlptl.recipe.defaults import demo_backbone
from nlptl.recipe.entries import Entry
from nlptl.recipe.processes import complains, is_main, tell

__all__ = ["GENERAL", "Entry", "Recipe", "complains", "demo_backbone", "is_main", "parts", "read", "tell"]
