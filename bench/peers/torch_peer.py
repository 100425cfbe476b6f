#!/usr/bin/env python3
"""PyTorch as a peer: soma's models, data and batch sizes, in each way of running them that PyTorch has.

One run: prints the median of alternating rounds. With --serve: a worker that a driver commands line by line, so that
soma and PyTorch can take turns on a warm machine. README.md has the protocol and what is counted.
Exit code 0; 2 for bad options; 77 (with a sentence) where nothing could be run.
"""
import argparse
import gzip
import json
import os
import statistics
import sys
import time

# Read when inductor loads: no pool of compiler processes beside the measurement, and compiled code kept between runs.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
_cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.join(_cache, "soma", "inductor"))

try:
    import numpy as np
    import torch
    from torch import nn
except Exception as error:  # a broken installation raises more than ImportError
    print(f"torch_peer: skipped PyTorch: {error}", file=sys.stderr)
    sys.exit(77)

FASHION = "/usr/share/datasets/fashion-mnist"
VARIANTS = ("nchw", "channels_last", "compiled", "compiled_channels_last")
IDLE = 0.3  # seconds: OpenMP's threads spin for some milliseconds after a region and would disturb whoever runs next


# Models. Outputs are logits where the loss is softmax cross entropy.

def neuron():
    return nn.Linear(1, 1)


def tiny():
    return nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2), nn.Tanh(), nn.Linear(2, 1))


def mlp():
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(inplace=True), nn.Linear(512, 512), nn.ReLU(inplace=True),
                         nn.Linear(512, 10))


def net():
    return nn.Sequential(nn.Conv2d(3, 6, 5), nn.ReLU(inplace=True), nn.MaxPool2d(2),
                         nn.Conv2d(6, 16, 5), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(400, 120), nn.ReLU(inplace=True), nn.Linear(120, 84), nn.ReLU(inplace=True),
                         nn.Linear(84, 10))


def keras_vgg():
    return nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(inplace=True), nn.Conv2d(32, 32, 3), nn.ReLU(inplace=True),
                         nn.MaxPool2d(2), nn.Dropout(.25),
                         nn.Conv2d(32, 64, 3), nn.ReLU(inplace=True), nn.Conv2d(64, 64, 3), nn.ReLU(inplace=True),
                         nn.MaxPool2d(2), nn.Dropout(.25), nn.Flatten(),
                         nn.Linear(30976, 256), nn.ReLU(inplace=True), nn.Dropout(.5), nn.Linear(256, 10))


def fashion_cnn():
    return nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2),
                         nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(3136, 128), nn.ReLU(inplace=True), nn.Dropout(.25), nn.Linear(128, 10))


def torchvision(name):
    """torchvision's network with its usual first weights."""
    def build():
        import torchvision.models
        return getattr(torchvision.models, name)(weights=None)
    return build


# Data: (x, y) of all samples, resident.

def read_idx(name):
    with gzip.open(os.path.join(FASHION, name)) as f:
        raw = f.read()
    shape = [int.from_bytes(raw[4 + 4 * i:8 + 4 * i], "big") for i in range(raw[3])]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def fashion(*shape):
    def load(batch):
        x = torch.from_numpy(read_idx("train-images-idx3-ubyte.gz").copy()).float().div_(255)
        y = torch.from_numpy(read_idx("train-labels-idx1-ubyte.gz").copy()).long()
        order = torch.randperm(len(x))  # shuffled once, before the clock runs
        return x[order].reshape(-1, *shape), y[order]
    return load


def random_images(*shape, classes=10, batches=8):
    def load(batch):
        n = batches * batch
        return torch.randn(n, *shape), torch.randint(classes, (n,))
    return load


def line_points(batch):
    x = torch.linspace(-1.5, 4, 64 * batch)[torch.randperm(64 * batch)].reshape(-1, 1)
    return x, 3 * x - 1 + torch.randn_like(x)


def circle_points(batch):
    x = torch.rand(64 * batch, 2) * 2 - 1
    return x, (x.square().sum(1, keepdim=True) < .5).float() * 2 - 1


class Spec:
    def __init__(self, build, data, loss, optimizer, options, batch, warmup, images):
        self.build, self.data, self.loss = build, data, loss
        self.optimizer, self.options = optimizer, options
        self.batch, self.warmup, self.images = batch, warmup, images


MSE, CE, SGD, ADAM = nn.functional.mse_loss, nn.functional.cross_entropy, torch.optim.SGD, torch.optim.Adam
MODELS = {
    "neuron": Spec(neuron, line_points, MSE, SGD, {"lr": .01}, 32, 200, False),
    "tiny": Spec(tiny, circle_points, MSE, SGD, {"lr": .03}, 10, 200, False),
    # after 2,000 steps Adam's moments of blank pixels have decayed into denormals: that is what users run with
    "mlp": Spec(mlp, fashion(784), CE, ADAM, {"lr": .001}, 128, 2000, False),
    "net": Spec(net, random_images(3, 32, 32), CE, SGD, {"lr": .001, "momentum": .9}, 32, 100, True),
    "keras-vgg": Spec(keras_vgg, random_images(3, 100, 100), CE, SGD, {"lr": .01, "momentum": .9, "nesterov": True},
                      32, 5, True),
    "fashion-cnn": Spec(fashion_cnn, fashion(1, 28, 28), CE, ADAM, {"lr": .001}, 128, 50, True),
}
PHOTOS = random_images(3, 224, 224, classes=1000, batches=2)
LARGE = {"alexnet": ("alexnet", 32), "vgg11": ("vgg11", 8), "vgg16": ("vgg16", 8), "resnet18": ("resnet18", 16),
         "resnet50": ("resnet50", 16), "squeezenet1_0": ("squeezenet1_0", 32), "mobilenetv2": ("mobilenet_v2", 16),
         "densenet121": ("densenet121", 8)}
for _name, (_theirs, _batch) in LARGE.items():
    MODELS[_name] = Spec(torchvision(_theirs), PHOTOS, CE, SGD, {"lr": .01, "momentum": .9}, _batch, 3, True)
UPDATES = {"loop": {"foreach": False, "fused": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}


class Runner:
    """One model in one variant: run(n) does n steps."""

    def __init__(self, args, spec, data, variant, update):
        self.variant, self.batch, self.spec = variant, args.batch, spec
        compiled = variant.startswith("compiled")
        torch.manual_seed(args.seed)
        model, (x, y) = spec.build(), data
        if variant.endswith("channels_last"):
            model = model.to(memory_format=torch.channels_last)
            x = x.to(memory_format=torch.channels_last)
        if args.precision == "bf16" and args.mode == "predict":
            model, x = model.to(torch.bfloat16), x.to(torch.bfloat16)  # faster than autocast, which casts each time
        whole = len(x) // args.batch  # the last, smaller batch is left out: PyTorch would compile once more for it
        self.batches = [(x[i * args.batch:(i + 1) * args.batch], y[i * args.batch:(i + 1) * args.batch])
                        for i in range(whole)]
        self.next = 0
        if args.mode == "predict":
            model.eval()
            self.forward = torch.compile(model) if compiled else model
            self.run = self.predict
        else:
            loss = spec.loss
            mixed = args.precision == "bf16"

            def forward(x, y):
                with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                    out = model(x)
                return loss(out.float(), y)
            self.forward = forward
            self.optimizer = spec.optimizer(model.parameters(), **spec.options, **UPDATES[update])
            self.zero, self.update = self.optimizer.zero_grad, self.optimizer.step
            if compiled:
                self.forward = torch.compile(self.forward)
                if args.compile_update:
                    self.update = torch.compile(self.optimizer.step)
            self.run = self.train

    def take(self, steps):
        """The next `steps` batches, in a ring."""
        while steps > 0:
            part = self.batches[self.next:self.next + steps]
            self.next = (self.next + len(part)) % len(self.batches)
            steps -= len(part)
            yield from part

    def train(self, steps):
        forward, update, zero = self.forward, self.update, self.zero
        for x, y in self.take(steps):
            zero(set_to_none=True)
            forward(x, y).backward()
            update()

    def predict(self, steps):
        forward = self.forward
        with torch.inference_mode():
            for x, _ in self.take(steps):
                forward(x)

    def warm(self, steps):
        begin = time.perf_counter()
        self.run(min(steps, 3))
        three = time.perf_counter()
        more = max(steps - 3, 1 if three - begin > 1 else 5)
        self.run(more)
        end = time.perf_counter()
        step = (end - three) / more
        self.chunk = max(1, int(.005 / step))  # a look at the clock every 5 ms
        return three - begin

    def measure(self, seconds):
        self.run(self.chunk)  # untimed: whoever ran before has the caches, and the threads are asleep
        steps, begin = 0, time.perf_counter()
        while True:
            self.run(self.chunk)
            steps += self.chunk
            elapsed = time.perf_counter() - begin
            if elapsed >= seconds:
                return {"variant": self.variant, "samples_per_second": round(steps * self.batch / elapsed, 2),
                        "us_per_step": round(1e6 * elapsed / steps, 3), "steps": steps, "seconds": round(elapsed, 4)}


def say(text):
    print(f"torch_peer: {text}", file=sys.stderr, flush=True)


def fastest_update(args, spec, data):
    """PyTorch has three implementations of an optimizer; which is fastest depends on the model."""
    if args.model in LARGE:  # a few per cent of a step; three copies of the model would not be worth them
        return "fused", None
    runners = {u: Runner(args, spec, data, "nchw", u) for u in UPDATES}
    times = dict.fromkeys(UPDATES, float("inf"))
    for r in runners.values():
        r.warm(5)
    for _ in range(3):
        for u, r in runners.items():
            times[u] = min(times[u], r.measure(.1)["us_per_step"])
    return min(times, key=times.get), times


def build_all(args, spec, variants, data):
    update, update_times = args.update, None
    if args.mode == "train" and update == "auto":
        update, update_times = fastest_update(args, spec, data)
        say(f"optimizer implementation: {update}, us per step {update_times}")
    runners, skipped = [], {}
    for v in variants:
        if v.endswith("channels_last") and not spec.images:
            skipped[v] = "the model has no images"
            continue
        say(f"warming {args.model} {args.mode} {v}")
        try:
            r = Runner(args, spec, data, v, update)
            r.warm(args.warmup_steps)
            runners.append(r)
        except Exception as error:  # torch.compile fails in many ways; a peer that fails is skipped by name
            lines = [line for line in str(error).splitlines() if line.strip()]
            skipped[v] = lines[0][:300] if lines else type(error).__name__
            say(f"skipped {v}: {skipped[v]}")
    return runners, skipped, update


# Results go to the real stdout; what libraries print there goes to stderr, or a driver would read it as a result.
OUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def emit(record):
    print(json.dumps(record), file=OUT, flush=True)


def serve(runners, header):
    """Lines in: "run SECONDS [VARIANT]", "quit". Lines out: ready; then for each run its results and done."""
    time.sleep(IDLE)
    emit({"event": "ready", **header})
    for line in sys.stdin:
        words = line.split()
        if not words:
            continue
        if words[0] == "quit":
            break
        try:
            if words[0] != "run" or not 2 <= len(words) <= 3:
                raise ValueError("expected: run SECONDS [VARIANT], or quit")
            seconds = float(words[1])
            chosen = [r for r in runners if len(words) == 2 or r.variant == words[2]]
            if not chosen:
                raise ValueError(f"no variant {words[2]} here")
        except ValueError as error:
            emit({"event": "error", "message": str(error)})
            continue
        results = [r.measure(seconds) for r in chosen]
        time.sleep(IDLE)
        for result in results:
            emit({"event": "result", **result})
        emit({"event": "done"})


def rounds(args, runners, header):
    results = {r.variant: [] for r in runners}
    for _ in range(args.rounds):
        for r in runners:
            results[r.variant].append(r.measure(args.seconds))
    table = []
    for v, all_rounds in results.items():
        rates = [r["samples_per_second"] for r in all_rounds]
        table.append({"variant": v, "samples_per_second": statistics.median(rates), "best": max(rates),
                      "us_per_step": statistics.median(r["us_per_step"] for r in all_rounds), "rounds": len(rates)})
    if args.json:
        emit({**header, "results": table})
        return
    print(f"PyTorch {header['torch']}, {args.model} {args.mode}, batch {args.batch}, {args.precision}, "
          f"{args.threads} thread(s)", file=OUT)
    for t in table:
        print(f"  {t['variant']:<24}{t['samples_per_second']:>14,.1f} samples/s  {t['us_per_step']:>12,.1f} us/step",
              file=OUT)
    for v, why in header["skipped"].items():
        print(f"  {v:<24}skipped: {why}", file=OUT)
    OUT.flush()


def options():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--model", required=True, choices=sorted(MODELS))
    p.add_argument("--mode", default="train", choices=("train", "predict"))
    p.add_argument("--batch", type=int, help="default: the model's own")
    p.add_argument("--precision", default="f32", choices=("f32", "bf16"),
                   help="bf16: training under autocast, prediction with bf16 weights")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=.5, help="of one round of one variant")
    p.add_argument("--variant", default="all", choices=VARIANTS + ("all",))
    p.add_argument("--warmup-steps", type=int, help="before measuring, per variant; default: the model's own")
    p.add_argument("--update", default="auto", choices=("auto",) + tuple(UPDATES), help="optimizer implementation")
    p.add_argument("--compile-update", action="store_true", help="compiled variants: compile optimizer.step as well")
    p.add_argument("--flush-denormal", action="store_true", help="torch.set_flush_denormal(True), off by default")
    p.add_argument("--keep-memory", action="store_true",
                   help="glibc keeps freed memory instead of returning it each step, off by default")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--json", action="store_true")
    p.add_argument("--serve", action="store_true", help="read commands from stdin, write JSON lines")
    args = p.parse_args()
    spec = MODELS[args.model]
    args.batch = args.batch or spec.batch
    if args.warmup_steps is None:
        args.warmup_steps = spec.warmup if args.mode == "train" else min(spec.warmup, 50)
    if min(args.batch, args.threads, args.rounds) < 1 or args.seconds <= 0 or args.warmup_steps < 0:
        p.error("batch, threads, rounds and seconds must be positive")
    return args, spec


def check_alone(threads):
    """PyTorch's figures are its own only in a process without soma, and with the number of threads asked for: with
    another user of the same libgomp there would be one team, and torch.set_num_threads would set the other's, too."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        paths = {line.split(None, 5)[5].strip() for line in maps if line.count("/") and len(line.split(None, 5)) == 6}
    names = {os.path.basename(path) for path in paths}
    assert not any(name.startswith("libsoma") for name in names), "libsoma is in PyTorch's process"
    teams = {path for path in paths if os.path.basename(path).startswith(("libgomp", "libiomp", "libomp"))}
    assert len(teams) <= 1, f"more than one OpenMP runtime is in PyTorch's process: {sorted(teams)}"
    assert torch.get_num_threads() == threads, f"PyTorch has {torch.get_num_threads()} threads instead of {threads}"


KEEP = "glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=4294967296"


def main():
    args, spec = options()
    if args.keep_memory and os.environ.get("GLIBC_TUNABLES") != KEEP:  # read once, when a process starts
        os.environ["GLIBC_TUNABLES"] = KEEP
        OUT.flush()
        os.dup2(OUT.fileno(), 1)
        os.execv(sys.executable, [sys.executable] + sys.argv)
    torch.set_flush_denormal(args.flush_denormal)  # before any thread exists: threads inherit it
    torch.set_num_threads(args.threads)
    torch.set_float32_matmul_precision("highest")
    torch.manual_seed(args.seed)
    if args.mode == "predict":
        import torch._inductor.config as inductor
        inductor.freezing = True  # constants folded, weights packed once
    try:
        data = spec.data(args.batch)
    except OSError as error:
        say(f"skipped {args.model}: {error} (Debian: apt-get install dataset-fashion-mnist)")
        return 77
    variants = VARIANTS if args.variant == "all" else (args.variant,)
    runners, skipped, update = build_all(args, spec, variants, data)
    header = {"peer": "PyTorch", "torch": torch.__version__, "model": args.model, "mode": args.mode,
              "batch": args.batch, "precision": args.precision, "threads": torch.get_num_threads(),
              "warmup_steps": args.warmup_steps,
              "update": update if args.mode == "train" else None,
              "flush_denormal": args.flush_denormal, "keep_memory": args.keep_memory,
              "variants": [r.variant for r in runners], "skipped": skipped}
    if not runners:
        say(f"skipped {args.model}: no variant runs: {skipped}")
        return 77
    check_alone(args.threads)
    if args.serve:
        serve(runners, header)
    else:
        rounds(args, runners, header)
    return 0


if __name__ == "__main__":
    sys.exit(main())
