"""Facts about files, each stated once: their URLs, their names, what they hold, how they are written and compared."""
