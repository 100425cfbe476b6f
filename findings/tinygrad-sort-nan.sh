#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# tinygrad 0.14.0, CPU: sorting numbers with a NaN among them gives back another number twice.
# A guess: NaN goes to one end (numpy, PyTorch), or the order is undefined. Seen: 3 NaN 1 2 becomes 1 2 3 3; the NaN is
# gone and 3 is there twice. relu, relu6 and elu turn NaN into 0 (hardtanh, leaky_relu and clip keep it), sign into 1,
# and max keeps it in the first place alone.
# In soma: oracles for networks with non-finite values are numpy and PyTorch.

# shellcheck source=findings/lib
. "$(dirname "$0")/lib"
finding_install tinygrad==0.14.0 numpy==2.4.6
export DEV=CPU
finding_run << 'END'
import importlib.metadata

from tinygrad import Tensor

nan = float("nan")
print("tinygrad", importlib.metadata.version("tinygrad"))
print("sorted:", Tensor([3.0, nan, 1.0, 2.0]).sort()[0].numpy().tolist())
for name in ("relu", "relu6", "elu", "sign", "leaky_relu", "hardtanh"):
    print(name + ":", getattr(Tensor([nan, 1.0]), name)().numpy().tolist())
print("max:", Tensor([nan, 1.0, 2.0]).max().item(), Tensor([1.0, nan, 2.0]).max().item())
END
finding_seen << 'END'
tinygrad 0.14.0
sorted: [1.0, 2.0, 3.0, 3.0]
relu: [0.0, 1.0]
relu6: [0.0, 1.0]
elu: [0.0, 1.0]
sign: [1.0, 1.0]
leaky_relu: [nan, 1.0]
hardtanh: [nan, 1.0]
max: nan 2.0
END
