"""From a URL to a file: the policy of fetching, the caches of other programs, and HTTP with resume and digests."""
