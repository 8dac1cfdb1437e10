"""The commands that train a policy: ``train``, ``train-trl``, ``ablate``, ``conformance``, ``build-tiny``."""
