"""Where tables and files are: how places are written, and when two of them are one."""
