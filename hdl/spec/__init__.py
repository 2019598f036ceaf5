"""The specification of the tile, which hardware and software share.

config        sizes and options of a tile, and the presets
profile       the two kinds of tile
instructions  what each operation does; `isa` has the instruction set of a configuration
command       the ports by which the sequencer starts the slices
protocol      requests and responses on the link; `packing` has values as link words
integer       rounding, scalars and tables: the arithmetic
"""
