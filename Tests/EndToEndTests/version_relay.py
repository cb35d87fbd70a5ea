"""Stands between an agent and its coordinator and makes one of the two speak as another version would.

version_relay.py KIND COORDINATOR SERVER_CERTIFICATE SERVER_KEY NODE_CERTIFICATE NODE_KEY AUTHORITY LOG

KIND says whose messages are changed, and into what: newer-agent, older-agent, newer-coordinator, older-coordinator,
next-major-agent. COORDINATOR is HOST:PORT of the agent plane. The relay shows the coordinator's certificate to the agent
and the node's to the coordinator. It prints its port once it listens, writes one line into LOG for each message that it
changed, and ends when its standard input closes.

Messages are changed as bytes, with no knowledge of them but the numbers of fields (protobuf.dev/programming-guides/encoding).
"""

import http.client
import http.server
import re
import ssl
import sys
import threading

KIND, COORDINATOR, SERVER, SERVER_KEY, NODE, NODE_KEY, AUTHORITY, LOG = sys.argv[1:]
PROTOBUF = "application/x-protobuf"
VERSIONS = {"newer-agent": "1.1", "older-agent": None, "next-major-agent": "2.0"}
# What version 1.0 may leave out, by path and field number: what came last. A nested message is named by its own number.
OLDER_REQUESTS = {"/v1/report": [8, 9, 10, 20, (3, [15, 16, 17, 18])], "/v1/work": [4, 5]}
OLDER_ANSWERS = {"/v1/work": [2, (1, [20, 21])]}
# Routes that an older coordinator has not.
NEW_ROUTES = re.compile(r"/v1/(uploads|packs/[^/]+/claim|jobs/[^/]+/progress)")
# A job that only a later version knows.
FUTURE_JOB = "f" * 32
LOCK = threading.Lock()
GIVEN = []


def log(what):
    with LOCK, open(LOG, "a") as file:
        file.write(what + "\n")


def varint(body, at):
    value = shift = 0
    while True:
        byte = body[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def packed(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(number, value):
    data = value if isinstance(value, bytes) else value.encode()
    return packed(number << 3 | 2) + packed(len(data)) + data


def fields(body):
    at = 0
    while at < len(body):
        begin = at
        key, at = varint(body, at)
        content = at
        if key & 7 == 0:
            _, at = varint(body, at)
        elif key & 7 == 1:
            at += 8
        elif key & 7 == 2:
            length, content = varint(body, at)
            at = content + length
        else:
            at += 4
        yield key >> 3, body[begin:at], body[content:at]


def without(body, left_out):
    """The message without some of its fields, and without some of those of its nested messages."""
    numbers = {entry for entry in left_out if isinstance(entry, int)}
    nested = {entry[0]: entry[1] for entry in left_out if isinstance(entry, tuple)}
    out = b""
    for number, whole, content in fields(body):
        if number in nested:
            out += text(number, without(content, nested[number]))
        elif number not in numbers:
            out += whole
    return out


def request(path, body):
    if KIND == "newer-agent":
        # Field 900, a text: no version of today has it.
        return body + text(900, "news")
    return without(body, OLDER_REQUESTS.get(path, [])) if KIND == "older-agent" else body


def answer(path, body):
    if KIND == "older-coordinator":
        return without(body, OLDER_ANSWERS.get(path, []))
    if KIND != "newer-coordinator":
        return body
    body += text(900, "news")
    with LOCK:
        if path == "/v1/work" and not GIVEN:
            GIVEN.append(FUTURE_JOB)
            body += text(1, text(1, FUTURE_JOB) + text(2, "levitate") + text(901, "high"))
    return body


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream = None

    def relay(self):
        path = self.path.partition("?")[0]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == f"/v1/jobs/{FUTURE_JOB}/outcome":
            log("outcome " + ("refused" if b"'levitate'" in body and b"failed" in body else "taken"))
            return self.send(200, {"Content-Type": PROTOBUF}, b"")
        if KIND == "older-coordinator" and NEW_ROUTES.fullmatch(path):
            log(f"no route {path.split('/')[2]}")
            return self.send(404, {"Content-Type": PROTOBUF}, b"")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        if KIND in VERSIONS:
            headers = {name: value for name, value in headers.items() if name.lower() != "muster-protocol"}
            if VERSIONS[KIND]:
                headers["muster-protocol"] = VERSIONS[KIND]
            log(f"version {path}")
        if headers.get("content-type", headers.get("Content-Type")) == PROTOBUF and self.command == "POST":
            changed = request(path, body)
            if changed != body:
                log(f"request {path}")
            body = changed
            headers = {name: value for name, value in headers.items() if name.lower() != "content-length"}
        if self.upstream is None:
            context = ssl.create_default_context(cafile=AUTHORITY)
            context.load_cert_chain(NODE, NODE_KEY)
            self.upstream = http.client.HTTPSConnection(COORDINATOR, context=context)
        self.upstream.request(self.command, self.path, body or None, headers)
        reply = self.upstream.getresponse()
        content = reply.read()
        if reply.status == 200 and reply.headers.get("content-type") == PROTOBUF:
            changed = answer(path, content)
            if changed != content:
                log(f"answer {path}")
            content = changed
        self.send(reply.status, dict(reply.headers.items()), content)

    do_GET = do_POST = do_PUT = relay

    def send(self, status, headers, body):
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """An agent that goes, or a coordinator: the next connection is made anew."""


server = Server(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(SERVER, SERVER_KEY)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
