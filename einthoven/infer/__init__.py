"""A model answers: findings for one recording or many, embeddings, and the files in which answers are kept."""
