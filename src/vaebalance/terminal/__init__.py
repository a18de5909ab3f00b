"""What a person sees in the terminal while a command runs.

    progress  the live line of a training

No DVC stage depends on this room.
"""
