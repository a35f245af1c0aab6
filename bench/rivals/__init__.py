"""Other ways to do the work, one file each: the original's, torch's, and other libraries'.

A missing library is a dash.
"""
