"""Annotations that change what pyrunc does. Whoever passes on those of strangers must know."""

from __future__ import annotations

# A name that ends with a dot stands for all that begin so: features.md, Unsafe annotations.
UNSAFE: tuple[str, ...] = ()
