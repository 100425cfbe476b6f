#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# ONNX Runtime 1.32.0, CPU: what becomes of a NaN in MaxPool, ReduceMax and ArgMax depends on where it lies.
# A guess: NaN always comes through (numpy, PyTorch), or never. Seen: ReduceMax and ArgMax keep it in the first place
# alone; MaxPool over 4 keeps it in the last place, over 6 in the fourth, over 9 in the eighth. The element-wise Max
# always keeps it. MaxPool of a window of -inf gives -FLT_MAX. So a diverged network can name a class.
# In soma: NaN comes through max pooling and reductions wherever it lies, in every kernel (tests/test_nonfinite.c).

# shellcheck source=findings/lib
. "$(dirname "$0")/lib"
finding_install onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
finding_run << 'END'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

print("onnxruntime", onnxruntime.__version__)


def run(op, x, out=TensorProto.FLOAT, **attributes):
    graph = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"], **attributes)], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", out, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0].ravel()[0]


def places(op, n, shape, **attributes):
    kept = []
    for place in range(n):
        x = np.arange(n, dtype=np.float32)
        x[place] = np.nan
        y = run(op, x.reshape(shape), **attributes)
        if np.isnan(y):
            kept.append(place)
    print(op, "over", n, "keeps a NaN at", kept)


for n in (4, 6, 9):
    places("MaxPool", n, (1, 1, 1, n), kernel_shape=[1, n])
for n in (5, 33):
    places("ReduceMax", n, (1, n), keepdims=0)
answers = []
for place in range(5):
    x = np.arange(5, dtype=np.float32)
    x[place] = np.nan
    answers.append(int(run("ArgMax", x.reshape(1, 5), TensorProto.INT64, axis=1, keepdims=0)))
print("ArgMax of 0 1 2 3 4 with a NaN at 0, 1, 2, 3, 4:", answers)
print("MaxPool of -inf:", run("MaxPool", np.full((1, 1, 1, 4), -np.inf, np.float32), kernel_shape=[1, 4]))
END
finding_seen << 'END'
onnxruntime 1.32.0
MaxPool over 4 keeps a NaN at [3]
MaxPool over 6 keeps a NaN at [3]
MaxPool over 9 keeps a NaN at [7]
ReduceMax over 5 keeps a NaN at [0]
ReduceMax over 33 keeps a NaN at [0]
ArgMax of 0 1 2 3 4 with a NaN at 0, 1, 2, 3, 4: [0, 4, 4, 4, 3]
MaxPool of -inf: -3.4028235e+38
END
