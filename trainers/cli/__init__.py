"""The commands that train a policy: ``train``, ``train-trl``, ``ablate``, ``build-tiny``."""
