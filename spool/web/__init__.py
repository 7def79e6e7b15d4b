"""The spool in a browser: a plugin for Datasette (plugin.py) with a page at /-/holdfast.

    asked.py    what the address of the page asks for         pure
    report.py   the same as `holdfast status`, `plot`, `losses`, `hangs` and `points` tell, read from the spool
    page.py     that as HTML                                  pure

Read-only, like those commands: nothing is created or changed, and no statement is open while anything is sent.
Needs the extra `web`; nothing else in this project imports it.
"""
