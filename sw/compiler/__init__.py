"""The compiler: from a quantised model to a program with a cycle for each instruction."""
