"""gRPC servers that answer with their names: server.py FOLDER NAME...

Their addresses are written to FOLDER/servers.json. A server fails every request while there is a
file FOLDER/fail-NAME.
"""
import json
import os
import sys
import time
from concurrent import futures

import grpc

folder, names = sys.argv[1], sys.argv[2:]


def start(name):
    def ask(_, context):
        if os.path.exists(f"{folder}/fail-{name}"):
            context.abort(grpc.StatusCode.INTERNAL, "told to fail")
        return name.encode()

    methods = {"Ask": grpc.unary_unary_rpc_method_handler(ask)}
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Shop", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"


servers = {name: start(name) for name in names}
path = f"{folder}/servers.json"
with open(path + ".new", "w") as file:
    json.dump({name: address for name, (_, address) in servers.items()}, file)
os.rename(path + ".new", path)
while True:
    time.sleep(3600)
