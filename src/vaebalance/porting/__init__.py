"""A weight of another project -> params.yaml, and back.

cli       the arguments of pipelines/port.py; light, so that --help is quick
command   what the arguments ask for: their weight as ours, ours as theirs, the list
screen    tables and JSON
"""
