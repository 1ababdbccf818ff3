"""Ready-made drug models: one file each, every number with its source.

Each module has a `popk.PopModel` named ``model``.
"""
