#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# MNN 3.6.1, CPU: exp ends at 6.08e37 and at 1.65e-38.
# A guess: f32's exp, infinite from 88.7 on. Seen: exp(88) is 6.076e37, as exp(87) is (a third of the truth, 1.65e38,
# which f32 holds), exp(100) the same, never infinite; exp(-88) is 1.65e-38, not 6.05e-39; sigmoid(-100) is 1.65e-38.
# NaN: exp gives 1.65e-38, sigmoid 1, tanh 1, abs 0, relu 0, relu6 6. round(2.5) is 3 and round(0.5) is 1, where ONNX
# says 2 and 0.
# In soma: no kernel limits exp's argument (tests/test_vecmath.c); a comparison with MNN leaves out |x| > 87.

# shellcheck source=findings/lib
. "$(dirname "$0")/lib"
finding_install MNN==3.6.1 numpy==2.4.6
finding_run << 'END'
import os

os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
import importlib.metadata

import MNN.expr as F

nan = float("nan")
print("MNN", importlib.metadata.version("MNN"))


def show(name, values, call):
    y = call(F.const(values, [len(values)], F.NCHW)).read().tolist()
    print(name, "of", values, "=", ["%.4g" % v for v in y])


show("exp", [87.0, 88.0, 100.0, -88.0, nan], F.exp)
show("sigmoid", [-100.0, nan], F.sigmoid)
show("tanh", [nan], F.tanh)
show("abs", [nan], F.abs)
show("relu", [nan], F.relu)
show("relu6", [nan], F.relu6)
show("round", [0.5, 1.5, 2.5], F.round)
END
sed -i '/^The device supports/d' "$scratch/now"
finding_seen << 'END'
MNN 3.6.1
exp of [87.0, 88.0, 100.0, -88.0, nan] = ['6.076e+37', '6.076e+37', '6.076e+37', '1.646e-38', '1.646e-38']
sigmoid of [-100.0, nan] = ['1.646e-38', '1']
tanh of [nan] = ['1']
abs of [nan] = ['0']
relu of [nan] = ['0']
relu6 of [nan] = ['6']
round of [0.5, 1.5, 2.5] = ['1', '2', '3']
END
