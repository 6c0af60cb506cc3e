"""`token` and `certs`: files that only their owner reads, certificates that are what they say."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import threading
from pathlib import Path

import pytest
import yaml

from minispark.cli import authority
from minispark.cli.authority import alternative_name
from minispark.cli.main import main
from minispark.config import load
from minispark.errors import ConfigError, ProtocolError
from minispark.model.settings import TOKEN_CHARS_MIN
from minispark.transport.tls import connect_tls, serve_tls, tls_of
from tests.unit.sockets import TIMEOUT_S


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- token ---------------------------------------------------------------------------------------


def test_a_token_is_printed_and_another_one_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert [main(["token"]), main(["token"])] == [0, 0]
    first, second = capsys.readouterr().out.split()
    assert first != second and len(first) >= TOKEN_CHARS_MIN
    assert load(None, {"MINISPARK_TOKEN": first}).config.security.token == first


def test_a_token_in_a_file_is_not_shown_and_only_its_owner_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "token"
    assert main(["token", "-o", str(path)]) == 0
    token = path.read_text().strip()
    said = capsys.readouterr()
    assert token not in said.out + said.err
    assert mode(path) == 0o600
    config = load(None, {"MINISPARK_TOKEN_FILE": str(path)}).config
    assert config.security.token == token


def test_a_token_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "token"
    path.write_text("the old one")
    assert main(["token", "-o", str(path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert path.read_text() == "the old one"
    assert main(["token", "-o", str(tmp_path / "no" / "token")]) == 2
    assert "cannot be written: No such file" in capsys.readouterr().err


# --- certs ---------------------------------------------------------------------------------------


def openssl(*words: str) -> str:
    return subprocess.run(["openssl", *words], check=True, capture_output=True, text=True).stdout


def test_certificates_are_what_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "certs"
    hosts = ["--host", "10.0.0.1", "--host", "spark-1.example", "--host", "::1"]
    assert main(["certs", str(folder), *hosts, "--days", "90"]) == 0
    said = capsys.readouterr().out
    ca, cert = str(folder / "ca.pem"), str(folder / "cert.pem")
    assert "OK" in openssl("verify", "-x509_strict", "-CAfile", ca, cert)
    text = openssl("x509", "-in", cert, "-noout", "-text")
    names = "IP Address:10.0.0.1, DNS:spark-1.example, IP Address:0:0:0:0:0:0:0:1, "
    assert names + "DNS:localhost, IP Address:127.0.0.1" in text
    assert "NIST CURVE: P-256" in text and "CA:FALSE" in text
    assert "TLS Web Server Authentication" in text
    assert "CA:TRUE, pathlen:0" in openssl("x509", "-in", ca, "-noout", "-text")
    assert [mode(folder / name) for name in ("key.pem", "ca.key")] == [0o600, 0o600]
    # until when, as the file says it too
    ends = openssl("x509", "-in", cert, "-noout", "-enddate", "-dateopt", "iso_8601")
    assert f"ends on {ends.strip().removeprefix('notAfter=')[:10]}" in said
    copied, kept = said.split("# To none:")
    assert str(folder / "ca.key") in kept and str(folder / "ca.key") not in copied


def test_what_is_printed_is_a_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a: strange #name"
    assert main(["certs", str(folder), "--host", "10.0.0.1"]) == 0
    path = tmp_path / "tls.yaml"
    path.write_text(capsys.readouterr().out)
    config = load(str(path), {}).config
    assert config.security.scheme == "https"
    assert tls_of(config.security.tls).server is not None
    assert yaml.safe_load(path.read_text())["security"]["tls"]["ca"] == str(folder / "ca.pem")


def test_the_ca_of_an_earlier_call_signs_the_next_certificate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "certs"
    words = ["certs", str(folder), "--host", "10.0.0.1", "--json"]
    assert main(words) == 0
    ca, first = (
        (folder / "ca.pem").read_bytes(),
        openssl("x509", "-noout", "-serial", "-in", str(folder / "cert.pem")),
    )
    capsys.readouterr()
    assert main(words) == 2
    assert "cert.pem is there already" in capsys.readouterr().err
    (folder / "cert.pem").unlink()
    assert main(words) == 2
    assert "key.pem is there already" in capsys.readouterr().err
    (folder / "key.pem").unlink()
    assert main(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert (folder / "ca.pem").read_bytes() == ca
    assert openssl("x509", "-noout", "-serial", "-in", document["tls"]["cert"]) != first
    openssl("verify", "-CAfile", document["tls"]["ca"], document["tls"]["cert"])
    (folder / "ca.key").unlink()
    for name in ("cert.pem", "key.pem"):
        (folder / name).unlink()
    assert main(words) == 2
    assert "only one of ca.pem and ca.key" in capsys.readouterr().err


def test_a_certificate_ends_with_its_ca_at_the_latest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authority, "CA_DAYS", 20)
    assert main(["certs", str(tmp_path), "--host", "a", "--days", "90", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ends_at"] == document["ca_ends_at"]


@pytest.mark.parametrize(
    "host", ["", "1.2.3", "a b", "a,DNS:evil.example", "-a", "a..b", "10.0.0.1:7077", "x" * 300]
)
def test_a_host_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], host: str
) -> None:
    folder = tmp_path / "certs"
    assert main(["certs", str(folder), f"--host={host}"]) == 2
    assert "is no host name and no IP address" in capsys.readouterr().err
    assert not folder.exists()


def test_names_and_addresses_are_told_apart() -> None:
    named = {host: alternative_name(host) for host in ("10.0.0.1", "fe80::1", "a.b-c", "*.x.y")}
    assert named == {"10.0.0.1": "IP:10.0.0.1", "fe80::1": "IP:fe80::1", "a.b-c": "DNS:a.b-c",
                     "*.x.y": "DNS:*.x.y"}  # fmt: skip


def test_without_openssl_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = tmp_path / "certs"
    assert main(["certs", str(folder), "--host", "a"]) == 1
    assert "the command openssl, which is not here" in capsys.readouterr().err
    assert not folder.exists()
    tool = tmp_path / "openssl"
    tool.write_text("#!/bin/sh\necho 'it is broken' >&2\nexit 1\n")
    tool.chmod(0o755)
    assert main(["certs", str(folder), "--host", "a"]) == 1
    assert "openssl ecparam failed: it is broken" in capsys.readouterr().err


@pytest.mark.parametrize("days", ["0", "-1", "4000"])
def test_a_validity_out_of_range_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], days: str
) -> None:
    assert main(["certs", str(tmp_path), "--host", "a", f"--days={days}"]) == 2
    assert "--days is 1 to 3650" in capsys.readouterr().err


@pytest.mark.parametrize(("host", "is_believed"), [("10.9.8.7", True), ("10.9.8.8", False)])
def test_both_ends_of_a_connection_take_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], host: str, is_believed: bool
) -> None:
    assert main(["certs", str(tmp_path / "certs"), "--host", "10.9.8.7"]) == 0
    path = tmp_path / "tls.yaml"
    path.write_text(capsys.readouterr().out)
    tls = tls_of(load(str(path), {}).config.security.tls)
    assert tls.server is not None and tls.client is not None
    left, right = socket.socketpair()
    with connect_tls(left, tls.client, host) as client, serve_tls(right, tls.server) as server:

        def serve() -> None:
            try:
                server.shake_hands("it", TIMEOUT_S)
            except ProtocolError:
                assert not is_believed

        thread = threading.Thread(target=serve)
        thread.start()
        if is_believed:
            client.shake_hands("it", TIMEOUT_S)
        else:
            with pytest.raises(ProtocolError, match="mismatch"):
                client.shake_hands("it", TIMEOUT_S)
        thread.join()


def test_a_configuration_names_all_three_files_or_none(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("security: {tls: {cert: a.pem, ca: b.pem}}\n")
    with pytest.raises(ConfigError, match=r"^security\.tls\.key must be said beside .*\.cert and"):
        load(str(path), {})
    assert load(str(path), {"MINISPARK_TLS_KEY": "k.pem"}).config.security.tls.is_on
    with pytest.raises(ConfigError, match=r"^security\.tls\.cert and security\.tls\.key must"):
        load(None, {"MINISPARK_TLS_CA": "b.pem"})
    with pytest.raises(ConfigError, match=r"line 1: unknown key security\.tls\.keys"):
        path.write_text("security: {tls: {keys: a.pem}}\n")
        load(str(path), {})
    with pytest.raises(ConfigError, match=r"did you mean security\.tls\.cert"):
        load(None, {}, ["security.tls.crt=x"])
