# SPDX-License-Identifier: Apache-2.0
"""Speech for Silero VAD: made with espeak-ng, resampled to 16 kHz, cut into frames; a bar of the result."""
import subprocess
import wave

import numpy as np

RATE = 16000
FRAME, KEPT = 512, 64        # new samples of a call, and samples kept from the call before
ESPEAK = "/usr/bin/espeak-ng"


def say(text, wav):
    """Speaks into a file; returns float32 samples at 16 kHz."""
    subprocess.run([ESPEAK, "-v", "en", "-s", "150", "-w", wav, text], check=True, capture_output=True)
    with wave.open(wav, "rb") as w:
        rate, raw = w.getframerate(), w.readframes(w.getnframes())
    return resample(np.frombuffer(raw, np.int16).astype(np.float64) / 32768.0, rate)


def resample(x, rate):
    """Band-limited: through the spectrum, which is cut above the new Nyquist frequency."""
    n = int(round(len(x) * RATE / rate))
    spectrum = np.fft.rfft(x)
    cut = np.zeros(n // 2 + 1, complex)
    k = min(len(cut), len(spectrum))
    cut[:k] = spectrum[:k]
    return (np.fft.irfft(cut, n) * n / len(x)).astype(np.float32)


def scene(texts, folder, gap_s=1.2):
    """Silence, text, silence, text, ...: the samples and the true spans of speech in seconds."""
    gap = np.zeros(int(gap_s * RATE), np.float32)
    parts, spans, at = [gap], [], len(gap)
    for i, text in enumerate(texts):
        x = say(text, "%s/speech%d.wav" % (folder, i))
        loud = np.flatnonzero(np.abs(x) > 0.02)
        spans.append(((at + loud[0]) / RATE, (at + loud[-1]) / RATE))
        parts += [x, gap]
        at += len(x) + len(gap)
    return np.concatenate(parts), spans


def frames(samples):
    """Arrays [1, 576]: the last 64 samples of the frame before and 512 new ones."""
    n = len(samples) // FRAME
    padded = np.concatenate([np.zeros(KEPT, np.float32), samples[:n * FRAME]])
    return [padded[i * FRAME:i * FRAME + KEPT + FRAME].reshape(1, -1) for i in range(n)]


def detect(call, samples):
    """Runs call(inputs) -> outputs over all frames, the state carried; returns the probabilities."""
    state = np.zeros((2, 1, 128), np.float32)
    rate = np.array(RATE, np.int64)
    out = []
    for x in frames(samples):
        answer = call({"input": x, "state": state, "sr": rate})
        out.append(float(answer["output"].reshape(-1)[0]))
        state = answer["stateN"]
    return np.array(out)


def spans_found(probability, threshold=0.5, join_s=0.35):
    """Spans of speech in seconds; pauses shorter than join_s belong to the speech."""
    step = FRAME / RATE
    spans = []
    for i in np.flatnonzero(probability > threshold):
        start, end = i * step, (i + 1) * step
        if spans and start - spans[-1][1] < join_s:
            spans[-1][1] = end
        else:
            spans.append([start, end])
    return [tuple(s) for s in spans]


def bar(probability, width=64):
    """One character per slice of time: how sure the model is that somebody speaks."""
    cells = np.array_split(probability, width)
    return "".join(" .:#"[min(3, int(c.mean() * 4))] if len(c) else " " for c in cells)


def agree(found, true, slack_s=0.4):
    """As many spans as were spoken, each where it was spoken."""
    return len(found) == len(true) and all(
        abs(f[0] - t[0]) < slack_s and abs(f[1] - t[1]) < slack_s for f, t in zip(found, true))
