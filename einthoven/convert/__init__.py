"""Other people's weights become ours. No pickle that we are given is executed."""
