"""What `import pyrunc` offers."""

from __future__ import annotations

from pathlib import Path

import pyrunc


def test_each_name_is_there() -> None:
    assert all(getattr(pyrunc, name) for name in pyrunc.__all__)


def test_no_module_has_the_name_of_a_function() -> None:
    """The import of a module would put it in the function's place."""
    modules = {path.stem for path in Path(pyrunc.__file__).parent.glob("*.py")}
    assert not modules & set(pyrunc.__all__)
