# Databricks notebook source
# MAGIC %md
# MAGIC # A release from a notebook
# MAGIC Install the wheel of `dist/without-spark` (docs/databricks.md says why that one) and open the budget once; then run the
# MAGIC cells below. Running them again with the same release id costs nothing: it was charged, drawn and published.

# COMMAND ----------

# MAGIC %pip install /Volumes/main/dp_spark/wheels/dp_spark-0.1.0-py3-none-any.whl

# COMMAND ----------

dbutils.library.restartPython()

# COMMAND ----------

# Only where the release file says ${SOURCE_PASSWORD}: the secret goes into this process's environment and nowhere else.
# import os
# os.environ["SOURCE_PASSWORD"] = dbutils.secrets.get("dp-spark", "source-password")

# COMMAND ----------

from dp_spark import ReleaseSpec, run_release

spec = ReleaseSpec.from_yaml("../conf/databricks.yaml")
result = run_release(spark, spec, release_id="2026-11")

# COMMAND ----------

# Noised already, so they may be shown to whoever may read the published table.
released = result.rows.to_pandas() if result.rows is not None else None
released
