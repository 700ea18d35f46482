"""With a codec, what is on disk is unreadable; without its key, that is a clear error."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from cryptography.fernet import Fernet

from aion_cli.codecs import FernetCodec
from aion_cli.errors import UsageError
from aion_cli.runtime import blobs, codec
from aion_cli.runtime.codec import CodecError, PayloadCodec
from aion_cli.runtime.files import Files
from tests.builders import completed, raw

KEY = Fernet.generate_key().decode()
OTHER = Fernet.generate_key().decode()


def test_a_payload_is_sealed_and_opened_again() -> None:
    sealing = PayloadCodec(FernetCodec(KEY))
    sealed = sealing.seal(raw({"card": "4711"}))
    assert b"4711" not in bytes(sealed)
    assert set(msgspec.json.decode(bytes(sealed))) == {"$enc", "codec"}
    assert bytes(sealing.open(sealed)) == b'{"card":"4711"}'


def test_a_rotated_key_still_reads_what_the_old_one_wrote() -> None:
    sealed = PayloadCodec(FernetCodec(KEY)).seal(raw(1))
    assert bytes(PayloadCodec(FernetCodec(f"{OTHER},{KEY}")).open(sealed)) == b"1"


def test_without_a_codec_an_encrypted_payload_is_an_error_that_names_it() -> None:
    sealed = PayloadCodec(FernetCodec(KEY)).seal(raw(1))
    with pytest.raises(CodecError, match="fernet") as caught:
        PayloadCodec(None).open(sealed)
    assert "AION_CODEC" in caught.value.hint


def test_the_wrong_key_is_an_error_and_nothing_is_guessed() -> None:
    sealed = PayloadCodec(FernetCodec(KEY)).seal(raw(1))
    with pytest.raises(CodecError, match="cannot be decrypted"):
        PayloadCodec(FernetCodec(OTHER)).open(sealed)


def test_a_payload_that_is_short_enough_for_its_line_is_encrypted_there(tmp_path: Path) -> None:
    store = blobs.BlobStore(tmp_path, Files(), PayloadCodec(FernetCodec(KEY)))
    event = completed(0, "needle")
    stored = store.deflate(event)
    assert b"needle" not in msgspec.json.encode(stored)
    assert store.inflate(stored) == event


def test_a_big_payload_is_encrypted_in_its_blob_as_well(tmp_path: Path) -> None:
    store = blobs.BlobStore(tmp_path, Files(), PayloadCodec(FernetCodec(KEY)))
    event = completed(0, "needle" * 100_000)
    stored = store.deflate(event)
    assert "$blob" in msgspec.json.decode(bytes(stored.result))  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType] - deflate keeps the type of the event
    assert all(b"needle" not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert store.inflate(stored) == event


@pytest.mark.parametrize("spec", ["nonsense", "no.such.module:Codec", "json:dumps", "aion_cli.codecs:missing"])
def test_a_setting_that_names_no_codec_is_a_usage_error(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(codec.VARIABLE, spec)
    codec.codec_from_environment.cache_clear()
    try:
        with pytest.raises(UsageError, match=r"AION_CODEC"):
            codec.codec_from_environment()
    finally:
        codec.codec_from_environment.cache_clear()


def test_no_key_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="AION_CODEC_KEY"):
        FernetCodec("")
