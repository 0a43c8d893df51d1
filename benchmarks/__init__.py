"""How much of a processor and of memory the server needs; `python -m benchmarks` runs it all."""
