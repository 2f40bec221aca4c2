"""Lists in the environment."""


def listed(value: object) -> object:
    """Split what the environment gives as `a, b`."""
    return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value
