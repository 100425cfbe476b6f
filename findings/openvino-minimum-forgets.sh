#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# OpenVINO 2026.4.1, CPU, precision f32: ReduceMin and ReduceMax begin anew behind a NaN.
# A guess: NaN wins, or is left out. Seen: the minimum of 0 1 2 ... 14 NaN 16 is 16: everything before the NaN is
# forgotten, and which elements those are hangs on the vector's lanes. Greater(NaN, 0) is true while LessOrEqual(NaN, 0)
# is false; HardSigmoid(NaN) is 1; Relu(NaN) is 0 while Clip(NaN, 0, 6) is NaN.
# In soma: comparisons of results with OpenVINO treat networks with non-finite values as not comparable.

# shellcheck source=findings/lib
. "$(dirname "$0")/lib"
finding_install openvino==2026.4.1 onnx==1.23.2 numpy==2.4.6
finding_run << 'END'
import io

import numpy as np
import openvino
from onnx import TensorProto, helper

core = openvino.Core()
print("openvino", openvino.__version__.split("-")[0])


def run(op, inputs, out=TensorProto.FLOAT, **attributes):
    names = ["x%d" % i for i in range(len(inputs))]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attributes)], "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, x.shape) for n, x in zip(names, inputs)],
        [helper.make_tensor_value_info("y", out, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    compiled = core.compile_model(core.read_model(io.BytesIO(model.SerializeToString())), "CPU",
                                  {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled(dict(zip(names, inputs)))[0].tolist()


x = np.arange(17, dtype=np.float32)
for place in (0, 15, 16):
    a = x.copy()
    a[place] = np.nan
    print("NaN at", place, "of 0..16: minimum", run("ReduceMin", [a], keepdims=0),
          "maximum", run("ReduceMax", [a[::-1].copy()], keepdims=0))
nan, zero = np.array([np.nan, -1, 1], np.float32), np.zeros(3, np.float32)
print("NaN -1 1 greater than 0:", run("Greater", [nan, zero], TensorProto.BOOL))
print("NaN -1 1 at most 0:", run("LessOrEqual", [nan, zero], TensorProto.BOOL))
print("HardSigmoid:", run("HardSigmoid", [nan])[0], "Relu:", run("Relu", [nan])[0],
      "Clip:", run("Clip", [nan, np.float32(0).reshape(()), np.float32(6).reshape(())])[0])
print("Max(NaN, 0):", run("Max", [nan, zero])[0], "Max(0, NaN):", run("Max", [zero, nan])[0])
END
finding_seen << 'END'
openvino 2026.4.1
NaN at 0 of 0..16: minimum 1.0 maximum nan
NaN at 15 of 0..16: minimum 16.0 maximum 14.0
NaN at 16 of 0..16: minimum nan maximum 15.0
NaN -1 1 greater than 0: [True, False, True]
NaN -1 1 at most 0: [False, True, False]
HardSigmoid: 1.0 Relu: 0.0 Clip: nan
Max(NaN, 0): 0.0 Max(0, NaN): nan
END
