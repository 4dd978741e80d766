"""A mail server (aiosmtpd) that stores received mails and replies to an address as a test configures it.

It writes `mails` in its folder, one line of JSON per mail, and reads `replies.json`, by address: `rcpt` and `data` are
replies to those commands; `hang up` instead of a reply closes the connection once the mail is stored.
"""

import argparse
import asyncio
import json
import ssl
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--folder", type=Path, required=True)
parser.add_argument("--encryption", choices=["none", "starttls", "implicit"], required=True)
parser.add_argument("--user")
arguments = parser.parse_args()


def reply(address, command):
    try:
        replies = json.loads((arguments.folder / "replies.json").read_text())
    except FileNotFoundError:
        return None
    return replies.get(address, {}).get(command)


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        refusal = reply(address, "rcpt")
        if refusal:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        answer = reply(envelope.rcpt_tos[0], "data")
        if answer and answer != "hang up":
            return answer
        mail = {
            "connection": session.peer[1],
            "encrypted": session.ssl is not None or arguments.encryption == "implicit",
            "user": session.auth_data.login.decode() if session.auth_data else None,
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "content": envelope.content.decode(),
        }
        with (arguments.folder / "mails").open("a") as mails:
            mails.write(json.dumps(mail) + "\n")
        if answer:
            server.transport.abort()
        return "250 2.0.0 queued"


def authenticate(server, session, envelope, mechanism, auth_data):
    password = (arguments.folder / "password").read_text().strip().encode()
    right = isinstance(auth_data, LoginPassword) and auth_data == LoginPassword(arguments.user.encode(), password)
    return AuthResult(success=right, handled=False, auth_data=auth_data)


async def main():
    context = None
    if arguments.encryption != "none":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.folder / "certificate.pem", arguments.folder / "key.pem")
    starttls = arguments.encryption == "starttls"

    def connection():
        return SMTP(
            Handler(),
            hostname="smtp.test",
            tls_context=context if starttls else None,
            require_starttls=starttls,
            authenticator=authenticate,
            auth_required=arguments.user is not None,
            auth_require_tls=starttls,
        )

    implicit = context if arguments.encryption == "implicit" else None
    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", arguments.port, ssl=implicit)
    await server.serve_forever()


asyncio.run(main())
