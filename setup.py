"""Build the compiled core of MarketState where there is a C compiler; pyproject.toml says all the rest.

It is optional: without a compiler the installation goes on, and numpy computes the same numbers.
"""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "ai_engine._compiled",
            sources=["ai_engine/_theil_sen.c", "ai_engine/_measures.c"],
            # The numbers must be those of the formulas: no contraction into fused operations, nothing "fast".
            extra_compile_args=["-O3", "-std=c99", "-ffp-contract=off", "-fno-fast-math"],
            libraries=["m"],
            optional=True,
        )
    ]
)
