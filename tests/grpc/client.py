"""A gRPC client that speaks xDS: client.py FOLDER TARGET RATE

Sends so many requests a second and keeps FOLDER/answers.json: how many each server answered, and
how many failed by the words that they failed with.
"""
import json
import os
import sys
import time
from collections import Counter
from concurrent import futures

import grpc

folder, target, rate = sys.argv[1], sys.argv[2], float(sys.argv[3])
answers = Counter()
failures = Counter()


def ask(call):
    try:
        answers[call(b"", timeout=10).decode()] += 1
    except grpc.RpcError as error:
        failures[f"{error.code().name}: {error.details()}"] += 1


def tell():
    path = f"{folder}/answers.json"
    with open(path + ".new", "w") as file:
        json.dump({"answers": dict(answers), "failures": dict(failures)}, file)
    os.rename(path + ".new", path)


with grpc.insecure_channel(target) as channel, futures.ThreadPoolExecutor(8) as pool:
    call = channel.unary_unary("/shop.Shop/Ask")
    next_at = time.monotonic()
    told_at = next_at
    while True:
        pool.submit(ask, call)
        next_at += 1 / rate
        now = time.monotonic()
        if now - told_at > 0.1:
            tell()
            told_at = now
        time.sleep(max(0.0, next_at - time.monotonic()))
