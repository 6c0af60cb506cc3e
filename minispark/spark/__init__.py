"""L3, Apache Spark as an engine: a plan becomes RDDs whose partitions are our tasks.

Nothing here imports pyspark before the engine is used.
"""
