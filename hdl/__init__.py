"""The tile, in Amaranth: one component a file, and the facts that hardware and software share.

Shared facts: :mod:`config` (every width and depth), :mod:`isa` (the instruction set),
:mod:`protocol` (the link's frames), :mod:`timing` (what happens in which cycle).
"""
