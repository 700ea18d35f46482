"""What an activity returned, as it is recorded: encoded, and without the secrets that were revealed."""

from __future__ import annotations

from typing import Any

import msgspec

from aion_cli.api.definitions import ActivityDefinition
from aion_cli.api.masking import masks
from aion_cli.errors import PayloadError


def recorded_result(definition: ActivityDefinition[..., Any], value: object) -> msgspec.Raw:
    """Encode what an activity returned, secrets masked.

    Raises PayloadError if it does not fit the return annotation, or would not once it is masked: the workflow reads
    what is recorded, so it must not be found out only there.
    """
    raw = definition.signature.encode_result(value)
    masked = masks.mask_json(raw)
    if bytes(masked) != bytes(raw):
        try:
            definition.signature.decode_result(masked)
        except PayloadError as unfit:
            raise PayloadError(
                f"the result of {definition.name} holds a revealed secret, and masked it does not fit its type",
                path=unfit.path,
                where=unfit.where,
                hint="return a text, or something that does not hold the secret",
            ) from None
    return masked
