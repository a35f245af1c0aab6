"""Representational similarity of neurons and attributes: reading of files, the searchlight, its significance and
stability.
"""
