"""Co-GRPO: a masked diffusion model and its schedule, sampled and trained as one policy (arXiv 2512.22288)."""

__version__ = "0.1.0"
