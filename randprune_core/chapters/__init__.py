"""What a chapter of the book computes: the tables, sentences and figures of its page.

A module begins with the topic of its notebook; what two chapters use is in `shared`.
"""
