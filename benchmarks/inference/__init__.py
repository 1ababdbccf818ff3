"""Whole fits by popk and by its peers, on the same work: what bench_inference.py is made of."""
