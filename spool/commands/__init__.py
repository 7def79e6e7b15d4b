"""The subcommands of `holdfast`, one file for each or for a small family; cli.py loads a file when it is needed.

They read through spool's readers, decide in its pure modules, and print through output.py. Instants in `--json` and
the other forms for machines are Unix seconds, as in the tables and in the wire format; people see local time.
"""
