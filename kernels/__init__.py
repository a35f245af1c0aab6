"""Triton kernels and their launchers, installed as ``skn.kernels``.

The folder has no importable top-level name once installed: a package called ``kernels`` would shadow the
Hugging Face package of that name, which transformers looks for.
"""
