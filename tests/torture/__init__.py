"""Tests that run real containers: they need root."""
