"""What a model's probabilities are worth: NumPy alone, no torch and no scikit-learn."""
