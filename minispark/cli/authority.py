"""A CA in a directory, and certificates of it, made by the `openssl` command: the standard library
reads certificates and cannot make any.

Must not know command lines of ours.
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from minispark.cli.token import write_secret
from minispark.errors import ClusterError, ConfigError

CA_DAYS = 3650
EARLY = timedelta(days=1)
"""From so long ago a certificate is valid: clocks of hosts differ."""
OPENSSL_TIMEOUT_S = 60.0
NAME_CHARS_MAX = 253
_LABEL = "[a-zA-Z0-9_]([a-zA-Z0-9-]*[a-zA-Z0-9])?"
_NAME = re.compile(rf"(\*\.)?({_LABEL}\.)*{_LABEL}")
_SETTINGS = """\
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[ca]
default_ca = here
[here]
database = index
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[host]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {alternatives}
"""
"""Source: openssl-ca(1), x509v3_config(5)."""


@dataclass(frozen=True, slots=True)
class Issued:
    """Paths of what was made."""

    cert: str
    key: str
    ca: str
    ca_key: str
    ends_at: datetime
    ca_ends_at: datetime


class Authority:
    """The CA whose files lie in `folder`: those of an earlier one, or new ones."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca, self._ca_key = folder / "ca.pem", folder / "ca.key"

    def issue(self, hosts: tuple[str, ...], days: int) -> Issued:
        """Make `cert.pem` and `key.pem` for names and IP addresses. Raises ConfigError for a host
        that is neither and for a file that is there, ClusterError where openssl is not, or fails.
        """
        alternatives = ", ".join(alternative_name(host) for host in hosts)
        openssl = shutil.which("openssl")
        if openssl is None:
            raise ClusterError(
                "certificates are made by the command openssl, which is not here: install it "
                "(apt-get install openssl, brew install openssl), or bring files of your own CA"
            )
        cert, key = self._folder / "cert.pem", self._folder / "key.pem"
        for path in (cert, key):
            if path.exists():
                raise ConfigError(f"{path} is there already, and is not overwritten")
        if self._ca.exists() != self._ca_key.exists():
            raise ConfigError(
                f"{self._folder} has only one of ca.pem and ca.key: bring the other, or use "
                "another directory"
            )
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{self._folder} cannot be made: {error.strerror}") from error
        with tempfile.TemporaryDirectory(prefix="minispark-certs-") as work:
            tool = _OpenSsl(openssl, Path(work))
            if not self._ca.exists():
                self._make_ca(tool)
            ca_ends_at = tool.end_of(self._ca)
            ends_at = min(_now() + timedelta(days=days), ca_ends_at)
            tool.configure("Mini-Spark", alternatives)
            made, secret = tool.sign(
                "host", ends_at, ["-cert", str(self._ca), "-keyfile", str(self._ca_key)]
            )
        write_secret(str(key), secret)
        cert.write_bytes(made)
        return Issued(str(cert), str(key), str(self._ca), str(self._ca_key), ends_at, ca_ends_at)

    def _make_ca(self, tool: _OpenSsl) -> None:
        tool.configure(f"Mini-Spark CA {secrets.token_hex(4)}", "DNS:localhost")
        ends_at = _now() + timedelta(days=CA_DAYS)
        made, secret = tool.sign("authority", ends_at, ["-selfsign", "-keyfile", tool.key_name])
        write_secret(str(self._ca_key), secret)
        self._ca.write_bytes(made)


class _OpenSsl:
    """The command, run in a directory of its own, where private keys are for a moment."""

    key_name = "key"

    def __init__(self, openssl: str, work: Path) -> None:
        self._openssl = openssl
        self._work = work
        # no two alike of one CA, whose earlier ones nobody knows here
        (work / "serial").write_text(f"4{secrets.token_hex(15)}0\n")

    def configure(self, name: str, alternatives: str) -> None:
        text = _SETTINGS.format(name=name, alternatives=alternatives)
        (self._work / "settings").write_text(text)

    def sign(self, kind: str, ends_at: datetime, signer: list[str]) -> tuple[bytes, bytes]:
        """A certificate of that section of the settings and its new key, in PEM."""
        (self._work / "index").write_text("")
        key = ["-name", "prime256v1", "-genkey", "-noout", "-out", self.key_name]
        self._run("ecparam", *key)
        self._run("req", "-new", "-key", self.key_name, "-config", "settings", "-out", "request")
        dates = ["-startdate", _stamp(_now() - EARLY), "-enddate", _stamp(ends_at)]
        options = ["-batch", "-notext", "-config", "settings", "-extensions", kind, *dates]
        self._run("ca", *options, *signer, "-in", "request", "-out", "made")
        return (self._work / "made").read_bytes(), (self._work / self.key_name).read_bytes()

    def end_of(self, certificate: Path) -> datetime:
        """When it ends to be valid."""
        text = self._run("x509", "-noout", "-enddate", "-in", str(certificate))
        date = text.partition("=")[2].strip()
        return datetime.strptime(date, "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC)

    def _run(self, *words: str) -> str:
        """Raises ClusterError with what it said."""
        try:
            done = subprocess.run(
                [self._openssl, *words],
                cwd=self._work,
                capture_output=True,
                text=True,
                timeout=OPENSSL_TIMEOUT_S,
                check=False,
                env={**os.environ, "LC_ALL": "C"},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ClusterError(f"openssl {words[0]} failed: {error}") from error
        if done.returncode != 0:
            said = " ".join(done.stderr.split())[-500:]
            raise ClusterError(f"openssl {words[0]} failed: {said}")
        return done.stdout


def alternative_name(host: str) -> str:
    """As a certificate's SAN has it. Raises ConfigError for what is no name and no IP address."""
    try:
        return f"IP:{ipaddress.ip_address(host)}"
    except ValueError:
        pass
    is_number = host.replace(".", "").isdigit()
    if _NAME.fullmatch(host) is None or len(host) > NAME_CHARS_MAX or is_number:
        raise ConfigError(f"--host {host} is no host name and no IP address")
    return f"DNS:{host}"


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _stamp(at: datetime) -> str:
    return f"{at:%Y%m%d%H%M%SZ}"
