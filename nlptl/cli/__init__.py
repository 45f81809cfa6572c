"""The commands of ``nlptl``, one file each: its help, its arguments, and what it does.

A module here is a command of its name; it has ``HELP``, ``EXAMPLES``, ``add_arguments(parser)`` and ``run(given)``, and
loads nothing heavy before it runs.
"""
