"""How fast the product is, beside its peers in the same run: ``python -m benchmarks``."""
