#!/usr/bin/env python3
"""A server that answers every call with the same hostile reply.

    replies.py CERTIFICATE KIND

CERTIFICATE holds the key, too. Prints its port, and serves until standard input ends.
"""
import http.server, os, ssl, sys, threading

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
    elif kind == "cut":
        yield (HEAD + "<RetrieveServiceContentResponse><returnval>").encode()
    else:
        yield b"<html>nothing</html>"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        # Said beforehand: TLS that is not closed in order would be a fault of its own.
        self.send_header("Content-Length", str(sum(len(piece) for piece in pieces(sys.argv[2]))))
        self.end_headers()
        try:
            for piece in pieces(sys.argv[2]):
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
