"""Errors as OpenAI's API has them: a status, and `{"error": {message, type, param, code}}`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from spar.errors import SparError

NO_RETRY: Mapping[str, str] = {"x-should-retry": "false"}
"""Header by which OpenAI's clients do not send a request again."""


class ApiError(SparError):
    """An answer with an error status.

    Parameters
    ----------
    status:
        HTTP status.
    code:
        What went wrong, in one word that clients test.
    param:
        The field of the body that is wrong; None where no single one is.
    kind:
        The API's `type`.
    headers:
        Headers of the response, such as Retry-After.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str,
        *,
        param: str | None = None,
        kind: str = "invalid_request_error",
        headers: Mapping[str, str] = {},
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.kind = status, code, param, kind
        self.headers = dict(headers)

    @property
    def content(self) -> dict[str, Any]:
        """The body of the response."""
        error = {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}


def invalid(message: str, param: str | None = None, code: str = "invalid_value") -> ApiError:
    """What the client can correct in the body: status 400."""
    return ApiError(400, message, code, param=param)


def model_not_found(message: str) -> ApiError:
    """No search is offered under this id: status 404."""
    return ApiError(404, message, "model_not_found", param="model")


def unexpected_error(error: Exception) -> ApiError:
    """An error of spar itself, or of a plug-in; the log has it."""
    logging.getLogger("uvicorn.error").error("a request failed", exc_info=error)
    return server_error(500, f"unexpected error: {type(error).__name__}", "internal_error")


def server_error(status: int, message: str, code: str, *, retry: bool = True) -> ApiError:
    """What the client cannot correct."""
    return ApiError(status, message, code, kind="server_error", headers={} if retry else NO_RETRY)
