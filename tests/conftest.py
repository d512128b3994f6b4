"""What all tests share."""

import shutil

import pytest
from hypothesis import settings

CHROMIUM = "chromium"

# A property holds however busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leaves out what needs a browser where there is none.

    What such tests show is also shown without: a report names nothing outside of itself
    and forbids its page to load or run anything.
    """
    if shutil.which(CHROMIUM):
        return
    left_out = [item for item in items if item.get_closest_marker("browser")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
