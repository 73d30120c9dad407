"""A fair table: every method on one grid, with equal budgets, chosen on validation, judged on the same recordings."""
