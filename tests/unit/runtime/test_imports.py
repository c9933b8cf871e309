"""The runtime is light: what it imports, every daemon pays for."""

import subprocess
import sys

HEAVY = ("numpy", "scipy", "requests", "websockets", "aiohttp", "rich", "asyncio.unix_events")


def test_importing_the_runtime_loads_nothing_heavy() -> None:
    """No number cruncher, no HTTP client, none of our other packages."""
    program = "import sys, microservices.runtime; print('\\n'.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = run.stdout.splitlines()
    assert "microservices.runtime" in loaded
    ours = {name.split(".")[1] for name in loaded if name.startswith("microservices.")}
    assert ours == {"runtime"}
    assert [name for name in loaded if name.split(".")[0] in HEAVY] == []
