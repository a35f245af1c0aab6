"""Triton kernels and their launchers, installed as ``skn.kernels``.

The folder is not installed under its own name: a top-level package ``kernels`` would shadow the Hugging Face package of
that name, which transformers looks for.
"""
