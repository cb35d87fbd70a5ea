"""A small HTTPS server that behaves well or badly, as the path of each request asks.

Prints its port once it listens and ends when its standard input closes.
"""

import argparse
import hashlib
import http.server
import json
import os
import socket
import ssl
import struct
import sys
import threading
import time
import urllib.parse


class State:
    """What the tests ask about afterwards; guarded by one lock."""

    def __init__(self):
        self.lock = threading.Lock()
        self.connections = 0
        self.open = 0
        self.most_open = 0
        self.requests = {}
        self.released = {}

    def count(self, path):
        with self.lock:
            self.requests[path] = self.requests.get(path, 0) + 1
            return self.requests[path]

    def gate(self, name):
        with self.lock:
            return self.released.setdefault(name, threading.Event())


STATE = State()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        with STATE.lock:
            STATE.connections += 1
            STATE.open += 1
            STATE.most_open = max(STATE.most_open, STATE.open)

    def finish(self):
        with STATE.lock:
            STATE.open -= 1
        super().finish()

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def read_body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def route(self):
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        count = STATE.count(parts.path)
        name = parts.path.strip("/").split("/")[0]
        getattr(self, "do_" + name.replace("-", "_"), self.do_unknown)(query, parts.path, count)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = route

    def do_unknown(self, query, path, count):
        self.read_body()
        self.answer(404, b"nothing here")

    def do_hello(self, query, path, count):
        self.read_body()
        self.answer(200, b"hello", [("X-Twice", "a"), ("X-Twice", "b"), ("X-Empty", "")])

    def do_echo(self, query, path, count):
        body = self.read_body()
        record = {
            "method": self.command,
            "length": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
            "headers": {key.lower(): value for key, value in self.headers.items()},
        }
        self.answer(200, json.dumps(record).encode())

    def do_stats(self, query, path, count):
        with STATE.lock:
            record = {
                "connections": STATE.connections,
                "most_open": STATE.most_open,
                "requests": STATE.requests,
            }
        self.answer(200, json.dumps(record).encode())

    def do_redirect(self, query, path, count):
        self.answer(302, headers=[("Location", "/hello")])

    def do_big(self, query, path, count):
        left = int(query["bytes"])
        self.send_response(200)
        if "unsized" in query:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(left))
        self.end_headers()
        while left > 0:
            block = b"x" * min(left, 65536)
            self.wfile.write(block)
            left -= len(block)

    def do_heads(self, query, path, count):
        self.answer(200, headers=[("X-Fill", "y" * 1000)] * int(query["count"]))

    def do_status(self, query, path, count):
        self.read_body()
        headers = [("Retry-After", query["after"])] if "after" in query else []
        fails = int(query.get("times", "1000000"))
        self.answer(int(query["code"]) if count <= fails else 200, b"as you asked", headers)

    def do_hold(self, query, path, count):
        """Answers once /release/NAME was asked for."""
        STATE.gate(path.split("/")[2]).wait()
        self.answer(200, b"held")

    def do_release(self, query, path, count):
        STATE.gate(path.split("/")[2]).set()
        self.answer(200)

    def do_cut(self, query, path, count):
        """Promises more than it sends, then hangs up."""
        self.read_body()
        if count > int(query.get("times", "1000000")):
            self.answer(200, b"whole")
            return
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"only this")
        self.close_connection = True

    def do_cut_upload(self, query, path, count):
        """Hangs up in the middle of a request's body, without a goodbye."""
        if count > int(query.get("times", "1000000")):
            self.answer(200, hashlib.sha256(self.read_body()).hexdigest().encode())
            return
        self.rfile.read(65536)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RD)
        self.connection.close()
        self.close_connection = True

    def do_sip(self, query, path, count):
        """Takes a body, some 64 KiB at a time with a pause after each."""
        left = int(self.headers["Content-Length"])
        while left > 0:
            left -= len(self.rfile.read(min(left, 65536)))
            time.sleep(0.05)
        self.answer(200, b"all of it")

    def do_drop(self, query, path, count):
        """Takes the whole request and hangs up without an answer."""
        body = self.read_body()
        if count > int(query.get("times", "1000000")):
            self.answer(200, hashlib.sha256(body).hexdigest().encode())
        else:
            self.close_connection = True

    def do_close_after(self, query, path, count):
        """Answers as if the connection stayed, and closes it."""
        self.answer(200, b"bye")
        self.close_connection = True

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, handler, context):
        super().__init__(address, handler)
        self.context = context

    def finish_request(self, request, client_address):
        # The handshake is made here, on the connection's own thread.
        if self.context is None:
            request.close()
            return
        wrapped = self.context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        try:
            wrapped.do_handshake()
        except (ssl.SSLError, OSError):
            self.say_why(wrapped)
            return
        try:
            super().finish_request(wrapped, client_address)
        except (ssl.SSLError, OSError, ValueError):
            pass

    def say_why(self, wrapped):
        """Lets the alert arrive: closing with unread bytes would reset the connection and lose it."""
        with socket.socket(fileno=wrapped.detach()) as plain:
            try:
                plain.shutdown(socket.SHUT_WR)
                while plain.recv(65536):
                    pass
            except OSError:
                pass

    def handle_error(self, request, client_address):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--client-authority")
    parser.add_argument("--mode", choices=["tls1.3", "tls1.2", "hang-up"], default="tls1.3")
    options = parser.parse_args()
    context = None
    if options.mode != "hang-up":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        version = ssl.TLSVersion.TLSv1_3 if options.mode == "tls1.3" else ssl.TLSVersion.TLSv1_2
        context.minimum_version = context.maximum_version = version
        context.load_cert_chain(options.certificate, options.key)
        if options.client_authority:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(options.client_authority)
    server = Server(("127.0.0.1", 0), Handler, context)
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


main()
