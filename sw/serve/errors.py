"""Errors of the API, in the shape that OpenAI documents: {"error": {"message", "type", "param", "code"}}."""

import json

from starlette.responses import Response

from ...hdl.spec.errors import MareyError


class ApiError(MareyError):
    """A request that is refused, or that failed. `status`: of HTTP. `param`: the field that is wrong."""

    def __init__(self, message: str, status: int = 400, param: str | None = None, code: str | None = None):
        super().__init__(message)
        self.status, self.param, self.code = status, param, code

    def as_json(self) -> dict:
        """The body of the response."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        if self.status == 429:
            kind = "rate_limit_error"
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        """The response. One whose request may not have been read to its end closes the connection."""
        headers = {"retry-after": "1"} if self.status in (429, 503) else {}
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        if self.status in (408, 413):
            headers["connection"] = "close"
        return json_response(self.as_json(), self.status, headers)


def json_response(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A value as JSON in ASCII, since a text may have characters that UTF-8 does not."""
    return Response(json.dumps(value), status, headers, "application/json")
