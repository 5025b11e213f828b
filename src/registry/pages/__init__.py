"""Pages for people: HTML that needs no network, made of what is known of models.

A page is a template in ``templates/``, filled with values and nothing else; text is escaped by the template engine.
"""
