"""Facts about files, each stated once: their addresses, what they hold, and how they are written and compared."""
