"""Conversion of loss weights between other projects' conventions and params.yaml.

conventions  the losses of other projects, and the conversion of their weights
options      what a person asks for
port         `vaebalance port`: their weight as ours, ours as theirs, or the list
wording      tables and JSON
"""
