"""L1, what a task does to data: batches, named functions and their kernels, aggregation, join,
blocks.
"""
