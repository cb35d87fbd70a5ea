"""A receiver of webhooks over TLS that checks what it is sent.

webhook_receiver.py FOLDER SECRET: makes an authority (FOLDER/ca.pem) and a certificate, prints its port once it listens,
and ends when its standard input closes. Paths: /good/NAME answers 204; /busy/NAME 503 the first two times of each event;
/held/NAME answers once /release/NAME was asked for; /moved/NAME sends elsewhere; /seen tells what came.
An event without a good signature is answered with 401.
"""

import hashlib
import hmac
import http.server
import json
import os
import ssl
import subprocess
import sys
import threading

FOLDER, SECRET = sys.argv[1], sys.argv[2].encode()
LOCK = threading.Lock()
SEEN = []
GATES = {}


def gate(name):
    with LOCK:
        return GATES.setdefault(name, threading.Event())


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)

    def do_GET(self):
        kind, _, name = self.path.strip("/").partition("/")
        if kind == "seen":
            with LOCK:
                return self.answer(200, json.dumps(SEEN).encode())
        if kind == "release":
            gate(name).set()
            return self.answer(200)
        with LOCK:
            SEEN.append({"path": self.path, "event": "", "text": "", "status": 405})
        self.answer(405)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parts = dict(part.split("=", 1) for part in self.headers["Muster-Signature"].split(","))
        code = hmac.new(SECRET, parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
        message, event = json.loads(body), self.headers["Muster-Event"]
        kind, _, name = self.path.strip("/").partition("/")
        with LOCK:
            before = sum(seen["path"] == self.path and seen["event"] == event for seen in SEEN)
        if kind == "held":
            gate(name).wait()
        status = {"good": 204, "held": 204, "busy": 503 if before < 2 else 204, "moved": 307}.get(kind, 404)
        if not hmac.compare_digest(code, parts["v1"]):
            status = 401
        text = message["event"] + " " + message["alarm"]["kind"]
        with LOCK:
            SEEN.append({"path": self.path, "event": event, "text": text, "status": status})
        self.answer(status, headers=[("Location", "/good/elsewhere")] if status == 307 else [])

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, context):
        super().__init__(("127.0.0.1", 0), Handler)
        self.context = context

    def finish_request(self, request, client_address):
        try:
            super().finish_request(self.context.wrap_socket(request, server_side=True), client_address)
        except (ssl.SSLError, OSError):
            pass


def openssl(*arguments):
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run(
        ["openssl", "req", "-x509", "-days", "2", *arguments, *key], cwd=FOLDER, check=True, capture_output=True)


def main():
    openssl("-subj", "/CN=test", "-addext", "basicConstraints=critical,CA:TRUE", "-out", "ca.pem", "-keyout", "ca.key")
    openssl(
        "-subj", "/CN=receiver", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext",
        "basicConstraints=critical,CA:FALSE", "-CA", "ca.pem", "-CAkey", "ca.key", "-out", "server.pem", "-keyout",
        "server.key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(FOLDER, "server.pem"), os.path.join(FOLDER, "server.key"))
    server = Server(context)
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


main()
