"""Other systems, each behind the same few functions. Runs in a Python of its own: imports nothing
of this project but `bench.peers`.
"""
