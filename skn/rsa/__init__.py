"""Representational similarity of neurons and attributes: what is read, the searchlight, its significance and stability."""
