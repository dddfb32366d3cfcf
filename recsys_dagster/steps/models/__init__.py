"""One module a strategy; `base.py` says what a model is and `hybrid.py` joins them."""
