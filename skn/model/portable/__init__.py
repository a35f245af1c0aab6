"""The models that skn writes, in files that work without skn. A portable folder holds copies of the two files here."""
