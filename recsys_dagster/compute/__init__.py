"""Where blocks of work are done: in this process (`blocks.py`), or on Ray (`on_ray.py`)."""
