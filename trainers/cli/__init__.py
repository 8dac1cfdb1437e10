"""The commands that train a policy: ``train``, ``ablate``, ``build-tiny``."""
