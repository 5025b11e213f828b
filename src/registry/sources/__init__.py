"""From a name to the paths of its files: what a name means, and where the files of each kind of source are."""
