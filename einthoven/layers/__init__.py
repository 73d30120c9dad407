"""Building blocks that more than one model or objective needs."""
