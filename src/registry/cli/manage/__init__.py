"""Commands that manage the files of models."""
