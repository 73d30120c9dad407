"""A look at every recording of a store: ``run.audit``. Doubts about signals, copies, patients on two sides, and how far labels reach."""
