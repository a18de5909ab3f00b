"""A weight of another project -> params.yaml, and back.

options      what a person asks for
port         `vaebalance port`: their weight as ours, ours as theirs, the list
conventions  what other projects minimise, and what that is here
wording      tables and JSON
"""
