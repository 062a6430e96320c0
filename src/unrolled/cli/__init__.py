"""The command line. All it does, a library user can do: the work is in tasks and training.

Data goes to stdout, everything else to stderr. Nothing here imports torch before a command runs.
"""
