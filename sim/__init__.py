"""Ways to run a tile: the emulator, Amaranth's simulator, Verilator, a serial port. All speak link words."""
