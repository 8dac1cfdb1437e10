"""A person as the policy: episodes played in a web page on this machine, recorded like those of any other agent."""

from deepeyes_env.agents.human.run import play_by_hand

__all__ = ["play_by_hand"]
