"""`python AGENT_DIR SOCKETS_DIR`: the keeper of an instance, and by forking its workers."""

import importlib.util
import os
import sys

PACKAGE = "_parallel_agent"  # what this folder is called in the user's interpreter


def load_agent():
    """Makes this folder a package that no sys.path entry leads to."""
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != folder]
    spec = importlib.util.spec_from_file_location(PACKAGE, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder])
    sys.modules[PACKAGE] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    return importlib.import_module(PACKAGE + ".keeper")


if __name__ == "__main__":
    sys.exit(load_agent().main(sys.argv[1]))
