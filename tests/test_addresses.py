"""Credentials in addresses are seen, and never repeated."""

import pytest

from aligngap import addresses
from aligngap.cli import main

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxR"
BAD = (
    f"s3://AKIAIOSFODNN7EXAMPLE:{SECRET}@bucket/a/*.tar",
    f"s3://AKIAIOSFODNN7EXAMPLE:{SECRET}@2@bucket/a/*.tar",
    f"https://user:{SECRET}@host:8080/a.tar",
    "https://wJalrXUtnFEMI@host/a.tar",
    f"https://host/a.tar?X-Amz-Expires=60&X-Amz-Signature={SECRET}",
    f"https://host/a.tar?token={SECRET}",
    f"abfs://container@account.dfs.core.windows.net/a?sig={SECRET}",
    f"ABFS://user:{SECRET}@account/a",
    f"simplecache::s3://key:{SECRET}@bucket/a.tar",
)
GOOD = (
    "s3://bucket/a/shard-0?.tar",
    "s3://bucket/{00000..00099}.tar",
    "gs://bucket/day=3/*.tar",
    "hf://datasets/user/name@main/data/*.parquet",
    "abfs://container@account.dfs.core.windows.net/a/*.tar",
    "sftp://me@host/a/*.tar",
    "https://host:8080/a.tar",
    "/data/a:b@c?d=e.tar",
    r"C:\data\a.tar",
)


@pytest.mark.parametrize("address", BAD)
def test_credentials_are_seen_and_left_out_of_texts(address):
    assert addresses.has_credentials(address)
    words = addresses.redacted(f'"{address}": could not be read')
    assert "wJalrXUtnFEMI" not in words
    assert "K7MDENG" not in words
    assert words.endswith('": could not be read')
    assert not addresses.has_credentials(words)


@pytest.mark.parametrize("address", GOOD)
def test_other_addresses_stay_as_they_are(address):
    assert not addresses.has_credentials(address)
    assert addresses.redacted(address) == address


@pytest.mark.parametrize("address", BAD)
@pytest.mark.parametrize(
    "command",
    [
        ["prepare", "--name=mine", "--source={}"],
        ["prepare", "--name=mine", "--source", "{}"],
        ["train", "--config=configs/quickstart.py:clip", "--config.data.corpus={}"],
        ["bench", "data", "--corpus={}"],
        ["{}"],
    ],
)
def test_a_command_with_credentials_is_refused_and_leaves_nothing(
    command, address, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    given = [part.format(address) for part in command]
    assert main([*given, f"--data_dir={tmp_path}"]) == 2
    said = capsys.readouterr()
    assert "holds credentials" in said.err
    assert "AWS" in said.err or "environment variables" in said.err
    assert len(said.err.splitlines()) == 1
    assert "wJalrXUtnFEMI" not in said.out + said.err
    assert "K7MDENG" not in said.out + said.err
    assert not list(tmp_path.iterdir())


def test_a_long_text_without_an_address():
    """Looked through once, and not once for each of its letters."""
    assert not addresses.has_credentials("x" * 10**6)
    assert addresses.has_credentials("x" * 10**5 + BAD[0])
