"""Local vision-language models of the Qwen2.5-VL kind, run with transformers: chat, images, sampling.

Heavy: importing this package's modules imports torch and transformers.
"""
