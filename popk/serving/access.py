"""Who may use the page: a token that is compared in constant time, and a cookie in its place."""

from __future__ import annotations

import hmac
import secrets
import time
from http.cookies import CookieError, SimpleCookie

from popk.errors import SettingError

__all__ = ["COOKIE", "SHORTEST", "Access", "new_token"]

COOKIE = "popk_session"
SHORTEST = 16  # characters of a token
_LASTS = 12 * 3600  # seconds of a session


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(32)


class Access:
    """Lets in who knows the token; everybody where there is none.

    Nothing is kept of a session: the cookie is its own end, signed with a key of this process.

    Parameters
    ----------
    token
        The token, or None.

    Raises
    ------
    SettingError
        When it is too short, or holds what a header cannot.
    """

    def __init__(self, token: str | None) -> None:
        if token is not None and not (
            len(token) >= SHORTEST and token.isascii() and token.isprintable() and " " not in token
        ):
            raise SettingError(
                f"The token has {len(token)} characters; give {SHORTEST} or more letters, digits "
                "and signs without blanks, or none, and one is made."
            )
        self._token = token
        self._key = secrets.token_bytes(32)

    @property
    def demanded(self) -> bool:
        """Whether a token is needed."""
        return self._token is not None

    def knows(self, given: str) -> bool:
        """Whether this is the token."""
        own = self._token or ""
        # Digests have one length, so that the token's is not told either.
        ours, theirs = (self._signed(text.encode()) for text in (own, given))
        return self.demanded and hmac.compare_digest(ours, theirs)

    def cookie(self, *, secure: bool) -> str:
        """The header ``Set-Cookie`` of a new session."""
        end = str(int(time.time()) + _LASTS)
        value = f"{end}.{self._signed(b'session ' + end.encode()).hex()}"
        return self._header(value, _LASTS, secure=secure)

    def no_cookie(self, *, secure: bool) -> str:
        """The header that ends a session in the browser."""
        return self._header("", 0, secure=secure)

    def allows(self, cookies: str, authorization: str) -> bool:
        """Whether a request with these headers may go on."""
        if not self.demanded:
            return True
        kind, _, given = authorization.partition(" ")
        if kind.lower() == "bearer" and self.knows(given.strip()):
            return True
        return self._current(cookies)

    def _current(self, cookies: str) -> bool:
        try:
            morsel = SimpleCookie(cookies).get(COOKIE)
        except CookieError:
            return False
        end, _, signature = (morsel.value if morsel is not None else "").partition(".")
        if not (end.isascii() and end.isdigit() and len(end) <= 12 and signature.isascii()):
            return False
        right = self._signed(b"session " + end.encode()).hex()
        return hmac.compare_digest(right, signature) and int(end) > time.time()

    def _signed(self, text: bytes) -> bytes:
        return hmac.digest(self._key, text, "sha256")

    def storage_key(self) -> str:
        """The key (hex) under which browsers keep entries over a reload; lost with this process."""
        return self._signed(b"entries").hex()

    @staticmethod
    def _header(value: str, seconds: int, *, secure: bool) -> str:
        return f"{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict" + (
            "; Secure" if secure else ""
        )
