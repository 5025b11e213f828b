"""The command ``registry``, also ``python -m registry``."""

import sys


def main() -> None:
    """Run the command line; without the extra ``cli``, say how to install it and exit with 1."""
    from registry.garbage import gc_spared, skip_last_collections

    skip_last_collections()
    try:
        with gc_spared():
            from registry.cli import main as run
    except ModuleNotFoundError as problem:
        if problem.name != "click":
            raise
        sys.exit('The command line needs click: pip install "torch-registry[cli]"')
    run(prog_name="registry")


if __name__ == "__main__":
    main()
