"""All scenarios. Their names' first letter is the phase they disturb:

c controls (nothing wrong), d names, t TCP, p proxies, l TLS, w writing, s status line, h headers, b body,
r redirects, x refusals, k keep-alive.
"""

from tests.faults import answers, channels, connecting  # noqa: F401 - each registers its scenarios
from tests.faults.scenario import SCENARIOS, Scenario

__all__ = ["SCENARIOS", "Scenario"]
