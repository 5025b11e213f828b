"""The saved directory: its manifest, how its files are written, and whether they still are what was written."""
