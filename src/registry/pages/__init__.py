"""HTML pages that need no network: the model catalog and the attention of a model.

A page is a template in ``templates/`` filled with values; the template engine escapes text.
"""
