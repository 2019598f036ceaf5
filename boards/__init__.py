"""FPGA boards: the design around the tile, bitstreams, what a tile costs and which clock it
meets."""
