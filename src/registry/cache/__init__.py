"""The content-addressed cache on this disk, its locks and its upkeep."""
