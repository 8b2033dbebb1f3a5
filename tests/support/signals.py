"""Small signals for the audio tests."""

import numpy as np

RATE = 22050


def song(seconds=4.0, bpm=120.0, rate=RATE, detune=0.0, seed=0):
    """Chords that change with the beat, clicks on the beat, and a little noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    beat = (time * bpm / 60).astype(int)
    phase = (time * bpm / 60) % 1
    signal = 0.003 * rng.standard_normal(len(time))
    for step, note in enumerate((60, 64, 67, 72, 65, 69)):
        hertz = 440 * 2 ** ((note + detune - 69) / 12)
        on = (beat + step) % 3 == 0
        signal += on * 0.1 * np.exp(-2 * phase) * np.sin(2 * np.pi * hertz * time)
    signal += 0.5 * np.exp(-150 * phase) * rng.standard_normal(len(time))
    return signal.astype(np.float32)
