"""Ways to run a tile: the emulator, Amaranth's simulator, Verilator. All speak link words."""
