"""HTML pages that need no network: the model catalog, attention, tokens, next tokens, comparisons, reports, maps.

A page is a template in ``templates/`` filled with values; the template engine escapes text.  The catalog is a directory
of pages; each other page is one file (``single.html``), in a directory with its template, style sheet and script.
"""
