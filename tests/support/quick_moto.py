"""moto without what it does again for each test or request: a third of the time of the tests that use it.

None of that is seen by a test: certificates still differ by their serial numbers, and nothing here uses `requests`.
And Greengrass V1 with a clock of its own: which deployment is the last must not depend on the machine's clock.
"""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import moto.core.models
import moto.core.responses
import moto.greengrass.models
import moto.iot.models
from cryptography.hazmat.primitives.asymmetric import rsa


def prepare() -> None:
    """Change moto in this process."""
    moto.core.models.RESPONSES_METHODS = []  # else 1,300 handlers for the library `requests` in each test
    responses: Any = moto.core.responses
    responses.method_names_from_class = cache(responses.method_names_from_class)
    models: Any = moto.iot.models
    models.rsa = _OneKey
    greengrass: Any = moto.greengrass.models
    seconds = itertools.count()
    greengrass.utcnow = lambda: datetime(2025, 1, 1) + timedelta(seconds=next(seconds))


class _OneKey:
    """In the place of cryptography's module `rsa`: the same key each time, as making one takes 0.1 s."""

    @staticmethod
    @cache
    def generate_private_key(**_: Any) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
