"""What a browser is told about every answer."""

from __future__ import annotations

from collections.abc import Sequence


def security_headers(image_hosts: Sequence[str] = ()) -> list[tuple[bytes, bytes]]:
    """The page loads and runs nothing but its own files. `image_hosts` are those whose images it shows."""
    images = " ".join(["'self'", "data:", "blob:", *(f"https://{host}" for host in image_hosts)])
    policy = "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"img-src {images}",
            "font-src 'self'",
            "connect-src 'self'",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )
    headers = {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
    }
    return [(name.encode(), value.encode()) for name, value in headers.items()]
