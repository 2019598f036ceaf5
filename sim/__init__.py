"""Ways to run a tile: the emulator, Amaranth's simulator, Verilator, a board at a serial port.

All are transports of link words, 32 bits each (`marey.sim.transport`).
"""
