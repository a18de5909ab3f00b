"""Conversion of loss weights between other projects' conventions and params.yaml.

conventions  the losses of other projects, and the conversion of their weights
options      the arguments of pipelines/port.py; light, so that --help is quick
port         the command: their weight as ours, ours as theirs, or the list
wording      tables and JSON
"""
