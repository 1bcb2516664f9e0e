"""How well it scales: the real scheduler on a clock that jumps, its metrics, and the HPA's algorithm."""
