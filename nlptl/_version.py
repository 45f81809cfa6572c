"""The version, in a module of its own so that no room needs the front door to know it."""

__version__ = "0.1.0"
