"""A plan as Apache Spark would run it: our translation, and Spark's own lineage of it.

Must not know how the plan was made.
"""

from __future__ import annotations

from minispark.model.plan import PhysicalPlan

MASTER = "local[1]"
"""Nothing runs: it is only asked for its lineage."""
JOB_ID = "explained"


def explained_on_spark(plan: PhysicalPlan, task_max_mb: int) -> dict[str, str]:
    """`text`, the translation, which is stable, and `lineage`, which is Spark's.

    Raises ClusterError: Spark or its Java is not installed, or the plan is naive.
    """
    from minispark.spark.context import spark_context
    from minispark.spark.translate import SparkJob

    with spark_context(MASTER, {"spark.log.level": "ERROR"}, "minispark explain") as sc:
        job = SparkJob(sc, plan, JOB_ID, task_max_mb)
        return {"text": job.describe(), "lineage": job.lineage()}
