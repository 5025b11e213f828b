"""What ``modeling.py`` imports: layers, heads, checked inputs, output records."""
