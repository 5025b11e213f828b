"""The saved folder: its manifest, and how its files are written."""
