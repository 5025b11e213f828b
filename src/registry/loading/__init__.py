"""From the files of a model to the model: built without memory, filled and checked, reported; and saved again."""
