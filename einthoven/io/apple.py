"""Text tables (placeholder until written)."""


def is_apple(text: str) -> bool:
    return False
