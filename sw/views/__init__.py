"""Views of a program: reports, timetables, measurements and evaluations."""
