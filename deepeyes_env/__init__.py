"""Environments in which a vision-language model learns to think with images."""
