"""HTTP: one request, one download with resume and digests, and the policy under which files are fetched."""
