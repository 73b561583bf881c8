"""The version, from the installed package where there is one."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("ambientbench")
except PackageNotFoundError:  # run from a folder, as in the images
    VERSION = "0+unpackaged"
