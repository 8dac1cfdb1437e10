"""OpenAIAgent: a model behind any OpenAI-compatible endpoint plays episodes."""

from deepeyes_env.agents.openai.agent import OpenAIAgent

__all__ = ["OpenAIAgent"]
