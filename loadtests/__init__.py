"""Load on a running service, and the pictures that it is made of."""
