"""Measures dp-spark, exact Spark queries and other libraries on one workload (``make bench``)."""
