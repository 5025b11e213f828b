"""Leaf layers, which two architectures or more use unchanged."""
