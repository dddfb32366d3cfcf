"""The explorer: pages for whoever runs a catalog and wants to look at it.

In here: routes, what templates are given, templates, one stylesheet, one script. Not in here: how
lists are made; nothing is asked of another host.
"""
