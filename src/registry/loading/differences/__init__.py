"""Models and weights that differ: the error, its advice, and how well other classes fit."""
