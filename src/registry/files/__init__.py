"""From a resolution to files on this disk."""
