"""gRPC servers that answer with their names: server.py FOLDER NAME[=ADDRESS]...

Their addresses are written to FOLDER/servers.json. A server fails every request while there is a
file FOLDER/fail-NAME. One with an address of its own tells at the next port, in Prometheus' words,
of how many requests it has handled, by the name that gRPC's own metrics have.
"""
import json
import os
import sys
import time
from collections import Counter
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import grpc

folder, names = sys.argv[1], sys.argv[2:]


def start(name, address):
    handled = Counter()

    def ask(_, context):
        if os.path.exists(f"{folder}/fail-{name}"):
            handled["Internal"] += 1
            context.abort(grpc.StatusCode.INTERNAL, "told to fail")
        handled["OK"] += 1
        return name.encode()

    methods = {"Ask": grpc.unary_unary_rpc_method_handler(ask)}
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Shop", methods),))
    port = server.add_insecure_port(address or "127.0.0.1:0")
    server.start()
    if address:
        host, port = address.rsplit(":", 1)
        tell(handled, (host, int(port) + 1))
    return server, address or f"127.0.0.1:{port}"


def tell(handled, address):
    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self):
            labels = 'grpc_service="shop.Shop",grpc_method="Ask",grpc_code='
            lines = [f'grpc_server_handled_total{{{labels}"{code}"}} {count}\n'
                     for code, count in sorted(handled.items())]
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write("".join(lines).encode())

        def log_message(self, *_):
            pass

    Thread(target=ThreadingHTTPServer(address, Metrics).serve_forever, daemon=True).start()


asked = [name.partition("=") for name in names]
servers = {name: start(name, address) for name, _, address in asked}
path = f"{folder}/servers.json"
with open(path + ".new", "w") as file:
    json.dump({name: address for name, (_, address) in servers.items()}, file)
os.rename(path + ".new", path)
while True:
    time.sleep(3600)
