#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""torchvision's networks with random weights, and what PyTorch computes with them, for bench/limit_torchvision.c.

usage: export_torchvision.py FOLDER [MODEL...]

Dropout is off, batch norm trains. Per MODEL, in FOLDER (little-endian; safetensors written here by hand):
    MODEL.weights.safetensors  initial values under torchvision's names, batch norm's statistics randomised too
    MODEL.grads.safetensors    gradients of every parameter in the first step, computed in f64, rounded to f32
    MODEL.after.safetensors    the same names after five steps of sgd (lr 0.01, momentum 0.9), computed in f64
    MODEL.x, MODEL.y           the batch: f32 [4,3,64,64] (vgg11: 32), i32 [4]
    MODEL.logits               f32 [4,1000] of evaluation, computed in f64
    MODEL.torch32              how far PyTorch's own f32 is from its f64: outputs (relative to the largest, or to 1);
                               the worst gradient tensor, the worst whose true gradient is zero; parameters and running
                               statistics after five steps, relative to how far all of them moved: five numbers
A gradient tensor's error is the norm of the difference to f64's, relative to the norm of f64's. Only where the true
gradient is zero (a shift that the next batch norm takes out: f64's is less than ZERO of its share of the whole
gradient's norm), it is relative to a thousandth of that share.
Where rounding alone decides on which side of relu's corner an element falls, or which of two elements wins in a pool,
f32 and f64 have different gradients, and so have two programs in f32 (a millionth of error in one element's sign is a
thousandth in the gradient's norm). So batch norms shift most channels well off the corner, pictures are small, and of
some batches the one on which PyTorch's f32 and f64 agree best is taken.
Exit code 77, with a sentence, where torchvision cannot be imported.
"""
import json
import os
import struct
import sys

try:
    import torch
    import torchvision
    from torch import nn
except Exception as error:  # a broken installation raises more than ImportError
    print(f"export_torchvision: skipped: torchvision cannot be used: {error}", file=sys.stderr)
    sys.exit(77)

MODELS = {"resnet18": "resnet18", "vgg11": "vgg11", "densenet121": "densenet121", "mobilenetv2": "mobilenet_v2",
          "squeezenet1_0": "squeezenet1_0"}  # soma's name: torchvision's
BATCH, STEPS, LR, MOMENTUM, SEEDS = 4, 5, 0.01, 0.9, 4
SIDES = {"vgg11": 32}  # others: 64
ZERO = 1e-9  # as in limit_torchvision.c


def write(path, tensors):
    header, at, blocks = {}, 0, []
    for name, tensor in tensors.items():
        data = tensor.detach().to(torch.float32).contiguous().numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
        blocks.append(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for block in blocks:
            file.write(block)


def make(name):
    torch.manual_seed(7)
    model = getattr(torchvision.models, MODELS[name])(weights=None)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.25, 0.5)
            nn.init.uniform_(module.bias, 1, 2)
            with torch.no_grad():
                module.bias.mul_(torch.randint(0, 2, module.bias.shape) * 2 - 1)
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model


def state(model):
    return {k: v.detach().clone() for k, v in model.state_dict().items() if v.is_floating_point()}


def gradients_of(model, x, y):
    model.train()
    model.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    return {k: p.grad.clone() for k, p in model.named_parameters()}


def run(model, x, y):
    """Evaluation's logits, the first step's gradients, the state after all steps."""
    model.eval()
    with torch.no_grad():
        logits = model(x).clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
    first = None
    for _ in range(STEPS):
        gradients = gradients_of(model, x, y)
        first = first or gradients
        optimizer.step()
    return logits, first, state(model)


def total(tensors):
    return sum(float(t.double().pow(2).sum()) for t in tensors) ** 0.5


def worst_gradients(a, b):
    """Of the tensors with a gradient, and of those whose true gradient is zero."""
    share = total(b.values()) / sum(g.numel() for g in b.values()) ** 0.5
    worst = [0.0, 0.0]
    for k, g in b.items():
        norm, usual = total([g]), share * g.numel() ** 0.5
        zero = norm < ZERO * usual
        worst[zero] = max(worst[zero], total([a[k].double() - g]) / (1e-3 * usual if zero else norm))
    return worst


def moved(a, b, before, names):
    return total(a[k].double() - b[k] for k in names) / max(total(b[k] - before[k].double() for k in names), 1e-30)


def batch(name, seed):
    side = SIDES.get(name, 64)
    x = torch.randn(BATCH, 3, side, side, generator=torch.Generator().manual_seed(seed))
    return x, torch.randint(0, 1000, (BATCH,), generator=torch.Generator().manual_seed(100 + seed))


def choose(name):
    best = None
    for seed in range(SEEDS):
        x, y = batch(name, seed)
        error = max(worst_gradients(gradients_of(make(name), x, y), gradients_of(make(name).double(), x.double(), y)))
        if best is None or error < best[0]:
            best = (error, seed)
        if error < 5e-5:
            break
    return batch(name, best[1])


def export(folder, name):
    x, y = choose(name)
    path = os.path.join(folder, name)
    model = make(name)
    before = state(model)
    write(path + ".weights.safetensors", before)
    logits32, gradients32, after32 = run(model, x, y)
    model = make(name).double()
    logits, gradients, after = run(model, x.double(), y)
    write(path + ".grads.safetensors", gradients)
    write(path + ".after.safetensors", after)
    x.numpy().tofile(path + ".x")
    y.to(torch.int32).numpy().tofile(path + ".y")
    logits.float().numpy().tofile(path + ".logits")
    statistics = [k for k in after if k not in gradients]
    figures = (
        float((logits32.double() - logits).abs().max() / logits.abs().max().clamp(min=1.0)),
        *worst_gradients(gradients32, gradients),
        moved(after32, after, before, gradients),
        moved(after32, after, before, statistics) if statistics else 0.0,
    )
    with open(path + ".torch32", "w", encoding="ascii") as file:
        file.write("%.9g %.9g %.9g %.9g %.9g\n" % figures)


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 2
    os.makedirs(sys.argv[1], exist_ok=True)
    torch.set_num_threads(int(os.environ.get("SOMA_BENCH_THREADS", "2")))
    for name in sys.argv[2:] or MODELS:
        export(sys.argv[1], name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
