"""Terminal output while a command runs.

    console   standard output for tables and paragraphs
    progress  the live line of a training

No DVC stage depends on this room.
"""
