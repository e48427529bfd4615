"""The tests of pyrunc."""
