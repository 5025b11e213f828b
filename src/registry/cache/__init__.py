"""The content-addressed cache on this disk, its locks and upkeep, and the caches of other libraries."""
