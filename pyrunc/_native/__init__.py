"""The native parts: ``_clone``, which the parent calls (see load.py), and ``pyrunc-init``."""
