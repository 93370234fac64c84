# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime's answer. usage: judge.py MODEL IN.npz OUT.npz   (in build/venv)"""
import sys

import numpy as np
import onnxruntime as ort

options = ort.SessionOptions()
options.log_severity_level = 3
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
names = [o.name for o in session.get_outputs()]
with np.load(sys.argv[2]) as f:
    answer = session.run(names, {k: f[k] for k in f.files})
np.savez(sys.argv[3], **dict(zip(names, answer)))
