"""Modules that go inside a net."""

from blurnet.filters import total_variation
from blurnet.layers.denoise import FeatureDenoise, denoise_places, denoise_resnet
from blurnet.layers.insert import Inserted, first_conv, insert_after, insert_before
from blurnet.layers.lowpass import FixedLowPass, LearnedLowPass, linf_penalty
from blurnet.layers.penalties import Penalty, Tikhonov, TotalVariation, penalties, tikhonov
