"""A catalog: one recommender over one set of items and users, as its YAML file describes it.

In here: the settings with their descriptions (`settings.py` and the parts of it), the reading of
files with every fault and its line (`files.py`), the reference made of them. Not in here: data.
"""
