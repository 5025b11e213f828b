"""Files of texts: read row by row, and tokenized by several processes."""
