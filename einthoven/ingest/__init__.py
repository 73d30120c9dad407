"""From raw files to a store: ``run.ingest``. A corpus is listed, cut into shards, and each shard made by a pure function, here, in processes or on a cluster."""
