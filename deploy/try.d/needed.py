#!/usr/bin/env python3
"""Which pack of a folder store a snapshot needs, as the coordinator says. Python's standard library only.

needed.py CONTEXT STORE SNAPSHOT    prints the file of the largest, and nothing where there is none
"""
import http.client
import json
import os
import ssl
import sys
import tempfile
import urllib.parse


def connect(context):
    tls = ssl.create_default_context(cadata=context["authority"])
    # The certificate names what the coordinator listens on; the chain is what proves it here.
    tls.check_hostname = False
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(context["certificate"] + "\n" + context["privateKey"] + "\n")
        file.flush()
        tls.load_cert_chain(file.name)
    place = urllib.parse.urlsplit(context["url"])
    return http.client.HTTPSConnection(place.hostname, place.port, context=tls)


def users(connection, pack):
    connection.request("GET", f"/v1/snapshots?pack={pack}&limit=1000", headers={"accept": "application/json"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        sys.exit(f"status {answer.status}: {body.decode(errors='replace')}")
    return {snapshot["id"] for snapshot in json.loads(body).get("snapshots", [])}


def main(arguments):
    if len(arguments) != 3:
        sys.exit(__doc__)
    context_path, store, snapshot = arguments
    with open(context_path) as file:
        connection = connect(json.load(file))
    needed = []
    for folder, _, names in os.walk(os.path.join(store, "packs")):
        for name in names:
            if snapshot in users(connection, name.split(".")[0]):
                path = os.path.join(folder, name)
                needed.append((os.path.getsize(path), path))
    if needed:
        print(max(needed)[1])


main(sys.argv[1:])
