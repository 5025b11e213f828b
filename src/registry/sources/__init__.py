"""From a name to the paths of its files: what a name means, and where its files are."""
