"""Functions of (signal, fs): resampling, scaling, quality; and the signal contract that puts them in order."""
