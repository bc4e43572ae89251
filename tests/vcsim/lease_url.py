#!/usr/bin/env python3
"""Opens an export lease and prints the addresses of its disks, for a peer of the benchmark.

    lease_url.py HOST:PORT/sdk USER PASSWORD VM

The lease is left open: the simulator ends it by itself.
"""

import http.client
import re
import ssl
import sys
import time
from xml.sax.saxutils import escape

ENVELOPE = (
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
    '<{0} xmlns="urn:vim25"><_this type="{1}">{2}</_this>{3}</{0}></soapenv:Body></soapenv:Envelope>'
)


class Client:
    def __init__(self, host):
        self.connection = http.client.HTTPSConnection(host, context=ssl._create_unverified_context())
        self.cookie = None

    def call(self, method, kind, ref, inner=""):
        headers = {"Content-Type": "text/xml", "SOAPAction": '"urn:vim25/8.0.0.1"'}
        if self.cookie:
            headers["Cookie"] = self.cookie
        body = ENVELOPE.format(method, kind, escape(ref), inner)
        self.connection.request("POST", "/sdk", body.encode(), headers)
        reply = self.connection.getresponse()
        text = reply.read().decode()
        if reply.status != 200:
            sys.exit(f"{method}: {text}")
        self.cookie = (reply.getheader("Set-Cookie") or self.cookie or "").split(";")[0]
        return text

    def properties(self, kind, ref, path):
        spec = (
            f'<specSet><propSet><type>{kind}</type><pathSet>{path}</pathSet></propSet>'
            f'<objectSet><obj type="{kind}">{escape(ref)}</obj></objectSet></specSet><options/>'
        )
        return self.call("RetrievePropertiesEx", "PropertyCollector", "propertyCollector", spec)


def main():
    host, user, password, name = sys.argv[1].split("/")[0], *sys.argv[2:5]
    client = Client(host)
    login = f"<userName>{escape(user)}</userName><password>{escape(password)}</password>"
    client.call("Login", "SessionManager", "SessionManager", login)
    path = f"<inventoryPath>/DC0/vm/{escape(name)}</inventoryPath>"
    found = client.call("FindByInventoryPath", "SearchIndex", "SearchIndex", path)
    vm = re.search(r"<returnval[^>]*>([^<]+)<", found).group(1)
    lease = re.search(r"<returnval[^>]*>([^<]+)<", client.call("ExportVm", "VirtualMachine", vm)).group(1)
    for _ in range(100):
        urls = re.findall(r"<url>([^<]+)</url>", client.properties("HttpNfcLease", lease, "info"))
        if urls:
            print(*urls, sep="\n")
            return
        time.sleep(0.1)
    sys.exit("the lease does not become ready")


main()
