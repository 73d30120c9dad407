"""One training loop for objectives and tasks, and what makes a run exact: order of the data, checkpoints, run folder."""
