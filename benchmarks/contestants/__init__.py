"""The contestants: one file, one environment and one long-lived process for each library."""
