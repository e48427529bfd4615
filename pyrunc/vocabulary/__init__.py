"""The words of the spec, each kind in one table.

The compiler, `features`, the messages of errors and docs/vocabulary.md all read these tables: what pyrunc
says that it knows is what it does.
"""
