#!/usr/bin/env python3
"""A server that answers every call with a hostile reply.

    replies.py CERTIFICATE KIND

CERTIFICATE holds the key, too. Prints its port, and serves until standard input ends.
"""
import http.server, os, re, ssl, sys, threading

HEAD = '<?xml version="1.0"?><E:Envelope xmlns:E="http://schemas.xmlsoap.org/soap/envelope/"><E:Body>'


def pieces(kind):
    if kind == "endless":
        yield HEAD.encode()
        for _ in range(80):
            yield b" " * (1 << 20)
    elif kind == "deep":
        yield (HEAD + "<a>" * 1_000_000).encode()
    elif kind == "entities":
        laughs = "".join(f"<!ENTITY e{n} '{'&e%d;' % (n - 1) * 10}'>" for n in range(1, 30))
        yield f"<!DOCTYPE x [<!ENTITY e0 'ha'>{laughs}]><x>&e29;</x>".encode()
    elif kind == "elements":
        yield (HEAD + "<a>").encode()
        for _ in range(60):
            yield b"<b/>" * (1 << 18)
        yield b"</a></E:Body></E:Envelope>"
    elif kind == "cut":
        yield (HEAD + "<RetrieveServiceContentResponse><returnval>").encode()
    else:
        yield b"<html>nothing</html>"


def reference(name, kind):
    return f'<{name} type="{kind}">{kind}</{name}>'


OBJECTS = "".join(
    f'<objects><obj type="VirtualMachine">vm-{n}</obj></objects>' for n in range(2000)
)


def page(method):
    """A server whose inventory has no end."""
    found = ""
    if method == "RetrieveServiceContent":
        kinds = ["rootFolder", "propertyCollector", "viewManager", "sessionManager"]
        found = "".join(reference(kind, kind) for kind in kinds)
    elif method == "CreateContainerView":
        return f'{HEAD}<R>{reference("returnval", "view")}</R></E:Body></E:Envelope>'
    elif "RetrieveProperties" in method:
        found = f"<token>0</token>{OBJECTS}"
    return f"{HEAD}<R><returnval>{found}</returnval></R></E:Body></E:Envelope>"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        reply = lambda: pieces(sys.argv[2])
        if sys.argv[2] == "pages":
            method = re.search(r"Body>\s*<(?:\w+:)?(\w+)", body).group(1)
            reply = lambda: [page(method).encode()]
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        # Said beforehand: TLS that is not closed in order would be a fault of its own.
        self.send_header("Content-Length", str(sum(len(piece) for piece in reply())))
        self.end_headers()
        try:
            for piece in reply():
                self.wfile.write(piece)
        except OSError:
            pass  # the client has had enough

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
os._exit(0)
