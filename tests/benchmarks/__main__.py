"""Run every benchmark: each module `bench_*` with a `main()`, one after another, or those whose name is given.

Usage: python -m tests.benchmarks [NAME …]     NAME as in bench_NAME.py
Figures and ratios, never a verdict: the exit code tells only whether they could be measured.
"""

import importlib
import pkgutil
import sys

import tests.benchmarks

PREFIX = "bench_"


def main(wanted: list[str]) -> int:
    """Run the wanted benchmarks, or all; 2 where a name is unknown."""
    known = [
        module.name for module in pkgutil.iter_modules(tests.benchmarks.__path__) if module.name.startswith(PREFIX)
    ]
    names = [PREFIX + name.removeprefix(PREFIX) for name in wanted] or known
    if unknown := sorted(set(names) - set(known)):
        print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    for name in names:
        print(f"── {name.removeprefix(PREFIX)} ".ljust(100, "─"), flush=True)
        importlib.import_module(f"tests.benchmarks.{name}").main()
        print(flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
