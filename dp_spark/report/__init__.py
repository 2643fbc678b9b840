"""The release report, one page for people."""
