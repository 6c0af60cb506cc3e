"""L4, the driver of a Spark application: a supervised process that runs jobs' tasks on Spark and
tells the master of each, as a worker does.
"""
