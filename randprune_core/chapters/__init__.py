"""What the chapters of the book compute: one module a chapter, and `common`, which all share.

A notebook cell calls these; they turn records into the tables, sentences and figures of its page.
"""
