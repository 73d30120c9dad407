"""Recordings that were read, checked and converted once: int16 shards, and one table with a row per record."""
