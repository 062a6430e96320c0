"""The live page: a small web server that lets visitors write with a run and look inside it.

The server needs the extra `serve` (fastapi, uvicorn); importing this package does not.
"""

from unrolled.serving.limits import Limits

__all__ = ["Limits"]
