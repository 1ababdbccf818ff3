"""The list of packages; everything else about the build is in pyproject.toml.

The top-level folder ``models`` is installed as ``popk.models``, and a search configured in
pyproject.toml cannot place a package that it finds under another name.
"""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["popk", "popk.*"]),
        "popk.models",
        *(f"popk.models.{name}" for name in find_packages("models")),
    ]
)
