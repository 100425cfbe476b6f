#!/usr/bin/env python3
"""ONNX Runtime and OpenVINO as peers in prediction: torch_peer's networks, exported as ONNX with a fixed batch size.

Each library runs as its guides say for f32 on a CPU: all optimisations on, the threads pinned to the number asked
for, bf16 off.
The protocol of --serve and the exit codes are torch_peer's.
"""
import argparse
import os
import sys

import torch_peer as peers

try:
    import numpy as np
    import torch
except Exception as error:  # torch_peer has said the same already
    sys.exit(77)

CACHE = os.path.join(peers._cache, "soma", "onnx")


def export(name, batch):
    """The network's file; made once."""
    path = os.path.join(CACHE, f"{name}-b{batch}.onnx")
    if os.path.exists(path):
        return path
    os.makedirs(CACHE, exist_ok=True)
    spec = peers.MODELS[name]
    torch.manual_seed(1)
    x, _ = spec.data(batch)
    part = f"{path}.{os.getpid()}"
    torch.onnx.export(spec.build().eval(), x[:batch], part, dynamo=False, opset_version=17, input_names=["x"],
                      output_names=["y"])
    os.replace(part, path)
    return path


def onnxruntime(path, threads):
    import onnxruntime as ort
    o = ort.SessionOptions()
    o.intra_op_num_threads, o.inter_op_num_threads = threads, 1
    o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})


def openvino(path, threads):
    import openvino as ov
    compiled = ov.Core().compile_model(path, "CPU", {
        "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"})
    request = compiled.create_infer_request()
    return lambda x: request.infer({0: x}, share_inputs=True, share_outputs=True)


class Runner(peers.Runner):
    def __init__(self, variant, forward, batches, batch):
        self.variant, self.batch, self.batches, self.next = variant, batch, batches, 0
        self.forward = forward

    def run(self, steps):
        for x in self.take(steps):
            self.forward(x)


def options():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--model", required=True, choices=sorted(peers.MODELS))
    p.add_argument("--batch", type=int, default=1)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=.5)
    p.add_argument("--json", action="store_true")
    p.add_argument("--serve", action="store_true", help="read commands from stdin, write JSON lines")
    args = p.parse_args()
    args.mode, args.precision = "predict", "f32"
    return args


def main():
    args = options()
    torch.set_num_threads(args.threads)  # it only makes the file; both libraries have threads of their own, told below
    try:
        path = export(args.model, args.batch)
    except Exception as error:
        peers.say(f"skipped {args.model}: no ONNX file can be made: {error}")
        return 77
    x, _ = peers.MODELS[args.model].data(args.batch)
    batches = [np.ascontiguousarray(x[i:i + args.batch].numpy()) for i in range(0, len(x), args.batch)]
    runners, skipped = [], {}
    for variant, make in (("onnxruntime", onnxruntime), ("openvino", openvino)):
        try:
            runner = Runner(variant, make(path, args.threads), batches, args.batch)
            runner.warm(10)
            runners.append(runner)
        except Exception as error:
            skipped[variant] = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
            peers.say(f"skipped {variant}: {skipped[variant]}")
    header = {"peer": "ONNX Runtime and OpenVINO", "torch": torch.__version__, "model": args.model, "mode": "predict",
              "batch": args.batch, "precision": "f32", "threads": args.threads,
              "variants": [r.variant for r in runners], "skipped": skipped}
    if not runners:
        return 77
    if args.serve:
        peers.serve(runners, header)
    else:
        peers.rounds(args, runners, header)
    return 0


if __name__ == "__main__":
    sys.exit(main())
