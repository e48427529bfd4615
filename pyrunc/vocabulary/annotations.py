"""Annotations that change what pyrunc does. Whoever passes on those of strangers must know."""

from __future__ import annotations

# A name that ends with a dot stands for all that begin so: features.md, Unsafe annotations.
UNSAFE: tuple[str, ...] = (
    "org.criu.config",  # a file of CRIU's options, which may name programs
    "org.systemd.property.",  # properties of the container's unit
    "run.oci.keep_original_groups",  # the caller's supplementary groups stay
    "run.oci.pidfd_receiver",  # a socket of the host gets a pidfd
)
