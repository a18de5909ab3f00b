"""Terminal output while a command runs.

    progress  the progress line of a training

No DVC stage depends on this room.
"""
