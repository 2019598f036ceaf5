"""From a model file to a program, and from a program to text."""
