# SPDX-License-Identifier: Apache-2.0
"""Bytes of a file for Magika, and its answer in words. The labels come from the model's own configuration."""
import json

import numpy as np

SPACE = b" \t\n\r\x0b\x0c"


def to_input(data, config):
    """int32 [1, begin + end]: the first bytes without leading white space, the last ones without trailing."""
    begin, end, pad, block = (config[k] for k in ("beg_size", "end_size", "padding_token", "block_size"))
    head = data[:block].lstrip(SPACE)[:begin]
    tail = data[-block:].rstrip(SPACE)[-end:]
    row = np.full(begin + end, pad, np.int32)
    row[:len(head)] = np.frombuffer(head, np.uint8)
    if tail:
        row[-len(tail):] = np.frombuffer(tail, np.uint8)
    return row[None]


def label(scores, config):
    """(kind, how sure)."""
    i = int(scores.reshape(-1).argmax())
    name = config["target_labels_space"][i]
    return config["overwrite_map"].get(name, name), float(scores.reshape(-1)[i])


def config_load(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)
