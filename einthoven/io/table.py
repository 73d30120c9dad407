"""Text tables (placeholder until written)."""


def is_table(text: str) -> bool:
    return False
