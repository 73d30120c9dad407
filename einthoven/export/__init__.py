"""A store as files again: what any ECG program opens (``recordings``), or what an old system reads. Each module has a function ``export``."""
