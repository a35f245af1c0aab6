"""The models that skn writes, in files that need no skn: a portable folder holds copies of the two files here."""
