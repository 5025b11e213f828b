"""Added tokens: records, the files in which they stand, and how they are found in texts."""
