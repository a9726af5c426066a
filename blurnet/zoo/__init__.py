"""Names to objects: specs, pretrained models and their files."""

from blurnet.files import load_weights, read_safetensors, save_weights
from blurnet.zoo.build import DEFENSES, NETS
from blurnet.zoo.card import Card, Published, RP2Figures
from blurnet.zoo.models import list_models, load_model, models_root, save_model
from blurnet.zoo.readme import render_leaderboard, render_readme
from blurnet.zoo.spec import DefenseSpec, ModelSpec
