"""From files to a model: built without memory, filled, checked and reported."""
