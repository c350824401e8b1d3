"""The Python objects behind `runner.parallel`, `runner.dsl`, `runner.entities`: each turns into the mapping that a YAML file would give."""
