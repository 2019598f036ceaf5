"""The JSON object in a request: its fields, each of the type and in the range that the API documents."""

import json

from .errors import ApiError


class Body:
    """The fields of a request. ApiError, which names the field, for one of another type or out of range.

    A field that is null counts as left out. Unknown fields are never looked at.
    """

    def __init__(self, content: bytes):
        try:
            fields = json.loads(content.decode("utf-8"), parse_constant=_refuse)
        except UnicodeDecodeError as error:
            raise ApiError(f"the body is not UTF-8: byte {error.start}") from None
        except (ValueError, RecursionError) as error:
            raise ApiError(f"the body is not JSON: {' '.join(str(error).split())[:100]}") from None
        if not isinstance(fields, dict):
            raise ApiError("the body must be a JSON object")
        self._fields = {name: value for name, value in fields.items() if value is not None}

    def get(self, name: str) -> object:
        """A field as it is; None if it is left out."""
        return self._fields.get(name)

    def text(self, name: str, default: str | None = None) -> str:
        """A text; without a default the field is required."""
        return self._of_type(name, default, (str,), "a string")

    def flag(self, name: str) -> bool:
        """True or false; false if it is left out."""
        return self._of_type(name, False, (bool,), "true or false")

    def whole(self, name: str, default: int | None, least: int, most: int = 2**63 - 1) -> int | None:
        """A whole number in a range."""
        return self._number(name, default, (int,), f"a whole number from {least} to {most}", least, most)

    def number(self, name: str, default: float, least: float, most: float) -> float:
        """A number in a range."""
        return self._number(name, default, (int, float), f"a number from {least:g} to {most:g}", least, most)

    def texts(self, name: str, most: int) -> tuple[str, ...]:
        """A text, or up to `most` in a list; none if the field is left out."""
        value = self.get(name)
        texts = [value] if isinstance(value, str) else [] if value is None else value
        if not isinstance(texts, list) or len(texts) > most or not all(isinstance(text, str) and text for text in texts):
            raise ApiError(f"{name} must be a string, or a list of up to {most}, and none of them empty", param=name)
        return tuple(texts)

    def object(self, name: str) -> dict:
        """An object; an empty one if the field is left out."""
        return self._of_type(name, {}, (dict,), "an object")

    def only(self, name: str, *allowed: object) -> None:
        """ApiError for a field with a value that the server cannot honour: it must be one of these, or be left out."""
        value = self.get(name)
        if value is not None and not any(type(value) is type(each) and value == each for each in allowed):
            raise ApiError(f"this server cannot do {name} other than {' or '.join(map(json.dumps, allowed))}: leave it out",
                           param=name, code="unsupported_parameter")

    def _of_type(self, name, default, types, what):
        value = self._fields.get(name, default)
        if value is None:
            raise ApiError(f"you must provide {name}", param=name, code="missing_required_parameter")
        if type(value) not in types:
            raise ApiError(f"{name} must be {what}", param=name, code="invalid_type")
        return value

    def _number(self, name, default, types, what, least, most):
        value = self._fields.get(name, default)
        if value is not default and (type(value) not in types or not least <= value <= most):
            raise ApiError(f"{name} must be {what}", param=name, code="invalid_value")
        return value


def _refuse(name):
    raise ValueError(f"{name} is no number of JSON")
